"""A comparison in calls of a few minutes, whose files may move to another machine in between."""

import json
import runpy
import shutil
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

RECIPE = Path(__file__).parents[3] / "recipes" / "gpu_evidence.py"


@pytest.fixture
def call(tmp_path, cache, monkeypatch, capsys):
    """Call the recipe on a tiny grid; returns what it printed."""
    grid = tmp_path / "grid.yaml"
    values = {
        "data": "synthetic",
        "baseline": "random",
        "encoders": {"random": "random", "gravis": {}},
        "common": {
            "synthetic_images": 60, "image_size": 32, "num_workers": 0, "cache_dir": str(cache), "cpu_threads": 1,
        },
        "pretrain": {"model": "test_resnet", "batch_size": 8, "views": 2, "epochs": 1, "evaluate": False},
        "tasks": {"evaluate": {}},
        "seeds": [0],
    }  # fmt: skip
    grid.write_text(yaml.safe_dump(values))

    def call(out: Path, minutes: float) -> str:
        monkeypatch.setattr(sys, "argv", [str(RECIPE), str(out), "--grid", str(grid), "--minutes", str(minutes)])
        with suppress(SystemExit):
            runpy.run_path(str(RECIPE), run_name="__main__")
        return capsys.readouterr().out

    return call


def scores(out: Path) -> dict[str, object]:
    summary = json.loads((out / "evaluate" / "gravis-1-0" / "summary.json").read_text())
    return {name: value for name, value in summary.items() if name.startswith(("knn", "probe"))}


def test_calls_continue_from_the_small_files_alone(call, tmp_path):
    out = tmp_path / "out"
    assert "3 of 3 runs are missing: pretrain gravis, seed 0; evaluate" in call(out, minutes=0)
    assert "all done" in call(out, minutes=9)
    run = out / "encoders" / "gravis-0"
    assert not (run / "checkpoints").exists()
    assert "gravis" in (out / "results.csv").read_text()
    before = scores(out)

    (run / "encoder" / "model.safetensors").unlink()  # too large to come along
    shutil.rmtree(out / "evaluate" / "gravis-1-0")
    assert "all done" in call(out, minutes=9)
    assert scores(out) == before
