import pytest
from accelerate import Accelerator

from gravis_triton.errors import UserError
from gravis_triton.run_directory import RunDirectory
from gravis_triton.settings import PretrainSettings, RunSettings
from gravis_triton.workflows.launch import choose_run, open_run


@pytest.fixture
def choose():
    accelerator = Accelerator(cpu=True)

    def chosen(resume=None, **settings) -> RunDirectory:
        run = RunSettings(**settings)
        return choose_run(run, accelerator, resume=resume, can_resume=True, name="resnet50-triplet")

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


def test_a_directory_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write to .*file/run: Not a directory"):
        open_run(RunDirectory(tmp_path / "file" / "run"), PretrainSettings(), Accelerator(cpu=True))
