"""Nothing that a command opens is run as code: a payload is planted in every file of a run, and never goes off."""

import os
import shutil
from pathlib import Path

import pytest
import torch

from gravis_triton.files import write_checksums


class Payload:
    """Unpickled, it creates a file."""

    def __init__(self, fired: Path) -> None:
        self.fired = fired

    def __reduce__(self):
        return os.system, (f"touch {self.fired}",)


def plant(file: Path, fired: Path) -> None:
    torch.save({"state": Payload(fired)}, file)
    directory = file.parent
    if (directory / "checksums.json").exists() and file.name != "checksums.json":
        write_checksums(directory)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture
def run(run_here, tiny, runs):
    """A fine-tuning run with a moving average, with the cache of its images beside it."""
    run = runs / "run"
    if not run.exists():
        flags = [*tiny[:6], *tiny[8:12], "--num-workers", "0", "--cache-dir", str(runs / "cache")]
        flags += ["--ema", "0.9", "--max-steps", "2", "--output-dir", str(run)]
        assert run_here("finetune_classification.py", "--encoder", "random", *flags)[0] == 0
    return run


def test_the_payload_goes_off_where_pickles_are_trusted(tmp_path):
    plant(tmp_path / "file", tmp_path / "fired")
    torch.load(tmp_path / "file", weights_only=False)
    assert (tmp_path / "fired").exists()


def test_no_file_of_a_checkpoint_is_run_when_it_is_resumed(run, run_here, tmp_path):
    names = sorted(file.name for file in next((run / "checkpoints").iterdir()).iterdir())
    assert {"best.pt", "optimizer.bin", "model.safetensors", "random_states_0.pkl"} <= set(names)
    for name in names:
        copy = tmp_path / f"with-{name}"
        shutil.copytree(run, copy)
        plant(next((copy / "checkpoints").iterdir()) / name, tmp_path / "fired")
        status, _, err = run_here("finetune_classification.py", "--resume", str(copy), "--max-steps", "3")
        assert not (tmp_path / "fired").exists(), name
        assert status == 2 or name == "random_states_0.pkl"  # accelerate goes on without random states; so do we
        assert "Traceback" not in err


@pytest.mark.parametrize("file", ["model/model.safetensors", "model/model.json"])
def test_no_file_of_a_model_is_run_when_it_predicts(run, run_here, tmp_path, file):
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    plant(copy / file, tmp_path / "fired")
    (tmp_path / "images").mkdir()
    status, _, err = run_here("predict.py", str(copy), str(tmp_path / "images"))
    assert not (tmp_path / "fired").exists()
    assert status == 2
    assert len(err.strip().splitlines()) == 1


def test_no_config_and_no_cache_is_run(run, run_here, tmp_path, runs):
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    plant(copy / "config.yaml", tmp_path / "fired")
    (copy / "tag.yaml").write_text(f"data: !!python/object/apply:os.system ['touch {tmp_path}/fired']\n")
    for flags in (["--resume", str(copy)], ["--config", str(copy / "tag.yaml")]):
        status, _, err = run_here("finetune_classification.py", *flags)
        assert (status, len(err.strip().splitlines())) == (2, 1)
    shutil.copytree(runs / "cache", tmp_path / "cache")
    files = [file for file in (tmp_path / "cache").rglob("[!.]*") if file.is_file()]  # locks are empty
    assert files
    for file in files:
        plant(file, tmp_path / "fired")
    run_here(
        "finetune_classification.py",
        "--resume",
        str(run),
        "--max-steps",
        "2",
        "--cache-dir",
        str(tmp_path / "cache"),
    )
    assert not (tmp_path / "fired").exists()
