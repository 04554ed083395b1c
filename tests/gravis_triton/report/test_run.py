import json
import math

import pytest
from accelerate import Accelerator

from gravis_triton.errors import UserError
from gravis_triton.report import Display, Journal, Summary, choose_run, open_run, run_recipe, say_summary
from gravis_triton.settings import PretrainSettings


@pytest.fixture
def accelerator():
    return Accelerator(cpu=True)


def test_the_default_name_says_when_with_what_model_and_loss(accelerator):
    name = choose_run(PretrainSettings(), accelerator, name="resnet50-triplet")
    assert name.parent.name == "runs"
    assert name.name.endswith("-resnet50-triplet")
    assert name.name[:8].isdigit()


def test_choosing_a_directory_creates_nothing(accelerator, tmp_path):
    choose_run(PretrainSettings(output_dir=str(tmp_path / "run")), accelerator, name="x")
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_no_output_directory(accelerator, tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(UserError, match=r"--output-dir .*run is a file"):
        choose_run(PretrainSettings(output_dir=str(tmp_path / "run")), accelerator, name="x")


def test_a_run_is_not_deleted_to_go_on_with_it(accelerator, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match=r"--overwrite would delete what --resume goes on from"):
        choose_run(
            PretrainSettings(output_dir=str(tmp_path), resume="auto", overwrite=True), accelerator, name="x"
        )
    assert (tmp_path / "thesis.tex").exists()


def test_a_score_that_is_not_defined_is_told_as_unknown(capsys, tmp_path):
    summary = Summary(
        loss=0.5, knn_balanced_accuracy=0.75, knn_balanced_accuracy_untrained=0.5, knn_mean_auc=None,
        knn_mean_auc_untrained=None, views_per_second=10.0, seconds=1.0, steps=2, sources=4, held_out=2, skipped=0,
        processes=1, device="cpu", versions={},
    )  # fmt: skip
    say_summary(Display(), summary, tmp_path)
    assert "balanced accuracy 0.500 -> 0.750, mean AUC unknown -> unknown" in capsys.readouterr().out


def test_a_directory_that_cannot_be_made_is_named(accelerator, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write to .*file/run: Not a directory"):
        open_run(tmp_path / "file" / "run", PretrainSettings(), accelerator)


def test_a_journal_made_again_forgets_what_came_after_its_step_and_a_line_cut_short(accelerator, tmp_path):
    journal = Journal(tmp_path, 0, accelerator)
    for step in (0, 2, 4, 6):
        journal.append({"step": step, "loss": step / 10})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 8, "lo')
    again = Journal(tmp_path, 4, accelerator)
    again.append({"step": 5, "loss": math.nan})
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [0, 2, 4, 5]
    assert (again.first("loss"), again.last("loss"), again.last("score")) == (0.0, None, None)


def test_a_new_run_does_not_inherit_a_journal(accelerator, tmp_path):
    Journal(tmp_path, 0, accelerator).append({"step": 0, "loss": 1.0})
    assert Journal(tmp_path, 0, accelerator).first("loss") is None


def test_what_the_user_can_mend_is_one_line_and_status_2(capsys):
    def main() -> int:
        raise UserError("no such directory: x")

    with pytest.raises(SystemExit) as exit:
        run_recipe(main)
    assert exit.value.code == 2
    assert capsys.readouterr().err == "error: no such directory: x\n"


def test_ctrl_c_is_no_traceback(capsys):
    def main() -> int:
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as exit:
        run_recipe(main)
    assert exit.value.code == 130
    assert capsys.readouterr().err == "interrupted\n"
