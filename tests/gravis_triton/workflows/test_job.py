import os
import textwrap

import pytest
from accelerate import Accelerator

from gravis_triton import run_directory
from gravis_triton.errors import UserError
from gravis_triton.run_directory import RunDirectory
from gravis_triton.settings.jobs import PretrainSettings
from gravis_triton.workflows.job import choose_run_dir, create_run_dir


@pytest.fixture
def choose():
    accelerator = Accelerator(cpu=True)

    def chosen(**settings) -> RunDirectory:
        return choose_run_dir(PretrainSettings(**settings), accelerator, name="resnet50-triplet")

    return chosen


def test_the_default_directory_is_named_by_date_model_and_loss(choose):
    path = choose().path
    assert path.parent.name == "runs"
    assert path.name.endswith("-resnet50-triplet")
    assert path.name[:8].isdigit()


def test_choosing_a_directory_creates_nothing(choose, tmp_path):
    choose(output_dir=str(tmp_path / "run"))
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_no_output_directory(choose, tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(UserError, match=r"--output-dir .*run is a file"):
        choose(output_dir=str(tmp_path / "run"))


def test_a_run_is_not_deleted_to_resume_it(choose, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match=r"--overwrite would delete the run that --resume needs"):
        choose(output_dir=str(tmp_path), resume="auto", overwrite=True)
    assert (tmp_path / "thesis.tex").exists()


@pytest.fixture
def run(tmp_path):
    """The directory of a run."""
    run = RunDirectory(tmp_path / "run")
    create_run_dir(run, PretrainSettings(), Accelerator(cpu=True))
    (run.path / "encoder").mkdir()
    return run


def test_overwriting_deletes_what_a_run_has_written(choose, run):
    settings = PretrainSettings(output_dir=str(run), overwrite=True)
    assert choose(output_dir=str(run), overwrite=True).path == run.path
    create_run_dir(run, settings, Accelerator(cpu=True))
    assert sorted(path.name for path in run.path.iterdir()) == [".lock", ".owner", "config.yaml"]


@pytest.mark.parametrize("data", ["run", "run/images"])
def test_a_run_that_holds_the_data_is_not_overwritten(choose, run, tmp_path, data):
    (tmp_path / data).mkdir(exist_ok=True)
    with pytest.raises(UserError, match="is or contains the data"):
        choose(output_dir=str(run), overwrite=True, data=str(tmp_path / data))


def test_a_run_is_not_overwritten_by_fine_tuning_its_own_encoder(choose, run):
    with pytest.raises(UserError, match="is or contains the encoder"):
        choose(output_dir=str(run), overwrite=True, encoder=str(run.path))


def test_a_finished_run_keeps_the_settings_it_was_trained_with(run, capsys):
    settings = PretrainSettings(resume="auto", output_dir=str(run), lr=0.5)
    before = run.config.read_text()
    create_run_dir(run, settings, Accelerator(cpu=True), finished=True)
    assert run.config.read_text() == before
    assert "these settings change nothing any more: lr: 0.001 -> 0.5" in capsys.readouterr().out
    create_run_dir(run, settings, Accelerator(cpu=True))
    assert "lr: 0.5" in run.config.read_text()
    assert "resuming with changed settings: lr: 0.001 -> 0.5" in capsys.readouterr().out


def test_the_current_directory_is_not_overwritten(choose, run, monkeypatch):
    monkeypatch.chdir(run.path)
    with pytest.raises(UserError, match="is or contains the current directory"):
        choose(output_dir=".", overwrite=True)


def test_a_run_with_something_else_in_it_is_not_overwritten(choose, run):
    (run.path / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match=r"also contains thesis.tex, not written by a run"):
        choose(output_dir=str(run), overwrite=True)


def test_a_config_of_something_else_does_not_make_a_run(choose, tmp_path):
    (tmp_path / "config.yaml").write_text("service: web\n")
    with pytest.raises(UserError, match=r"contains files but no run"):
        choose(output_dir=str(tmp_path), overwrite=True)


def test_a_directory_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write to .*file/run: Not a directory"):
        create_run_dir(RunDirectory(tmp_path / "file" / "run"), PretrainSettings(), Accelerator(cpu=True))


def test_a_second_process_is_kept_out_of_a_run_until_the_first_ends(run, fork):
    second = textwrap.dedent(
        f"""
        from accelerate import Accelerator
        from gravis_triton.run_directory import RunDirectory
        from gravis_triton.settings.jobs import PretrainSettings
        from gravis_triton.workflows.job import create_run_dir
        settings = PretrainSettings(resume="auto")
        create_run_dir(RunDirectory({str(run)!r}), settings, Accelerator(cpu=True))
        """
    )
    _, _, err = fork(exec, second).wait()
    assert f"another run is writing to {run} (process {os.getpid()} on " in err
    run_directory.release_locks()  # as at the end of the job
    assert fork(exec, second).wait()[0] == 0


def test_a_run_that_ended_while_this_one_started_is_not_written_over(run):
    with pytest.raises(UserError, match=r"another run has just written to"):
        create_run_dir(run, PretrainSettings(), Accelerator(cpu=True))


def test_what_is_resumed_must_exist(choose):
    with pytest.raises(UserError, match="--resume nowhere: there is no such run or checkpoint"):
        choose(resume="nowhere")


def test_a_run_is_not_written_over_by_resuming_another(choose, run, tmp_path):
    (tmp_path / "other").mkdir()
    with pytest.raises(UserError, match=r"run contains a different run from --resume \(.*other\)"):
        choose(output_dir=str(run), resume=str(tmp_path / "other"))
    checkpoint = run.checkpoints / "step-00000001"
    checkpoint.mkdir(parents=True)
    assert choose(output_dir=str(run), resume=str(checkpoint)).path == run.path
    assert choose(output_dir=str(tmp_path / "new"), resume=str(run)).path == tmp_path / "new"
