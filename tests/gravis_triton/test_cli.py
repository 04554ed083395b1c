import signal
import subprocess
import sys

import pytest
from PIL import Image

from gravis_triton import cli
from gravis_triton.errors import Interrupted, UserError


def run(monkeypatch, *args, error=None) -> int:
    """The exit status of the command line where the job raises `error`."""

    def job(_settings):
        raise error

    monkeypatch.setattr(cli.Job, "load", lambda _self: job)
    with pytest.raises(SystemExit) as exit:
        cli.main(args)
    return exit.value.code


def test_an_error_of_the_user_is_one_line_and_status_2(monkeypatch, capsys):
    assert run(monkeypatch, "runs", error=UserError("no such directory: x")) == 2
    assert capsys.readouterr().err == "error: no such directory: x\n"


def test_ctrl_c_is_one_line_and_status_130(monkeypatch, capsys):
    assert run(monkeypatch, "runs", error=KeyboardInterrupt()) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_a_run_stopped_by_a_signal_says_how_to_resume_and_has_its_status(monkeypatch, capsys):
    assert run(monkeypatch, "runs", error=Interrupted("stopped; resume with --resume RUN", 15)) == 143
    assert capsys.readouterr().out == "stopped; resume with --resume RUN\n"


def test_help_lists_every_job(monkeypatch, capsys):
    assert run(monkeypatch, "--help") == 0
    out = capsys.readouterr().out
    assert all(f"  {name} " in out for name in cli.JOBS)


def test_an_unknown_job_is_answered_with_a_similar_one(capsys):
    with pytest.raises(SystemExit) as exit:
        cli.main(["pretrian"])
    assert exit.value.code == 2
    assert "unknown job 'pretrian'; did you mean pretrain?" in capsys.readouterr().err


@pytest.mark.parametrize("name", cli.JOBS)
def test_every_job_has_a_workflow_function(name):
    assert callable(cli.JOBS[name].load())


@pytest.mark.parametrize(("args", "status"), [(["--help"], 0), (["--seed", "-1"], 2)])
def test_help_and_bad_settings_do_not_import_torch(args, status):
    code = f"""
import sys, gravis_triton.cli as cli
try:
    cli.run_job('evaluate', {args})
except SystemExit as error:
    assert error.code == {status} and 'torch' not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_runs_are_listed_without_torch(tmp_path):
    code = f"""
import sys, gravis_triton.cli as cli
try:
    cli.run_job('runs', ['{tmp_path}'])
except SystemExit as error:
    assert error.code == 0 and 'torch' not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_datasets_are_checked_without_torch_and_matplotlib(tmp_path):
    Image.new("RGB", (20, 20)).save(tmp_path / "a.png")
    code = f"""
import sys, gravis_triton.cli as cli
try:
    cli.run_job('check', ['{tmp_path}'])
except SystemExit as error:
    assert error.code == 0 and not {{'torch', 'matplotlib', 'datasets', 'sklearn'}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_reports_are_written_without_torch():
    code = "import sys, gravis_triton.workflows.runs; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_ctrl_c_is_one_line_whatever_becomes_of_it(monkeypatch, capsys, error):
    def interrupted(_settings):
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise error("of C code") from None

    monkeypatch.setattr(cli.Job, "load", lambda _self: interrupted)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(SystemExit) as end:
            cli.run_job("runs", [])
    finally:
        signal.signal(signal.SIGINT, before)
    assert end.value.code == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_an_error_without_ctrl_c_stays_what_it_is(monkeypatch):
    with pytest.raises(ValueError, match="a bug"):
        run(monkeypatch, "runs", error=ValueError("a bug"))
