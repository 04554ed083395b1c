"""Every method in whole runs: it learns without collapse, resumes exactly, and runs on two processes."""

import json
import re
import sys
from pathlib import Path

import pytest
import torch
from forked import PAGES, leave_out, run_script
from safetensors.torch import load_file

import gravis_triton as gt
from gravis_triton.errors import UserError
from gravis_triton.methods import METHODS

TINY = {
    "data": "synthetic",
    "synthetic_images": 60,
    "image_size": 32,
    "model": "test_resnet",
    "batch_size": 4,
    "epochs": 2,
    "views": 2,
    "num_workers": 0,
    "mixed_precision": "no",
    "cpu_threads": 1,
}
SMALL = {
    "byol": {"projection_hidden": 64, "projection_dim": 32},
    "vicreg": {"projection_hidden": 64, "projection_dim": 64},
    "dino": {"projection_hidden": 64, "projection_dim": 32, "prototypes": 64, "local_views": 2},
}

SHARDED = TINY | SMALL["dino"] | {"method": "dino", "model": "test_vit", "max_steps": 2}
SHARDED |= {"batch_size": 8, "clip_grad": 0.5, "max_bad_steps": 1}


@pytest.fixture(autouse=True)
def without_pages():
    with leave_out(PAGES):
        yield


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return {"cache_dir": str(tmp_path_factory.mktemp("cache"))}


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "encoder" / "model.safetensors")


@pytest.mark.parametrize("method", sorted(METHODS))
def test_a_resumed_run_gives_the_same_bits(method, cache, tmp_path):
    given = TINY | cache | SMALL.get(method, {}) | {"method": method, "evaluate": False}
    gt.pretrain(**given, output_dir=tmp_path / "whole")
    gt.pretrain(**given, output_dir=tmp_path / "parts", max_steps=4)
    gt.pretrain(**given, output_dir=tmp_path / "parts", max_steps=None, resume="auto")
    whole, parts = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    lines = [json.loads(line) for line in (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()]
    assert all(line["loss"] == line["loss"] for line in lines)  # not NaN


@pytest.fixture
def run_two(cache, tmp_path, fork):
    """Run a script, given the cache and an output folder, in two processes; returns status, stdout, stderr."""

    def run(script: str) -> tuple[int, str, str]:
        flags = (cache["cache_dir"], str(tmp_path))
        file = Path(__file__).with_name(script)
        return fork(run_script, file, *flags, processes=2, ACCELERATE_USE_CPU="true").wait()

    return run


def test_processes_agree_on_the_weights(run_two):
    _, out, err = run_two("two_processes.py")
    assert out.splitlines()[-1] == f"same weights: {' '.join(sorted(METHODS))}", err[-3000:]


def test_sharded_training_equals_replicated_training_and_resumes_exactly(run_two, tmp_path):
    status, _, err = run_two("two_shards.py")
    assert status == 0, err[-3000:]
    replicated, sharded, parts = (weights(tmp_path / name) for name in ("replicated", "sharded", "parts"))
    for name, expected in replicated.items():
        torch.testing.assert_close(sharded[name], expected, rtol=1e-4, atol=1e-5)
        assert torch.equal(parts[name], sharded[name])
    lines = [json.loads(line) for line in (tmp_path / "parts" / "metrics.jsonl").read_text().splitlines()]
    assert sum("knn_mean_auc" in line for line in lines) == 2  # untrained and after the first part


def test_the_method_of_the_documentation_runs(cache, tmp_path, monkeypatch):
    page = (Path(__file__).parents[3] / "docs" / "methods.md").read_text()
    code = re.search(r"```python\n(.*?)```", page, re.S).group(1)
    assert len(code.splitlines()) <= 40
    (tmp_path / "my_methods.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    run = gt.pretrain(
        **TINY | cache,
        method="my_methods:SimSiam",
        head_dim=16,
        output_dir=tmp_path / "run",
    )
    assert "head_dim: 16" in (run.directory / "config.yaml").read_text()
    assert "embedding_std" in (run.directory / "metrics.jsonl").read_text()
    del sys.modules["my_methods"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "simclrr"}, "unknown --method simclrr"),
        ({"method": "no_such_package:Method"}, "--method no_such_package:Method: No module named"),
        ({"method": "gravis_triton.methods:METHODS"}, "is not a subclass of gravis_triton.methods.Method"),
        ({"method": "nt-xent", "margin": 0.1}, "unknown setting 'margin'"),
    ],
)
def test_an_unusable_method_is_one_clear_error(settings, message):
    with pytest.raises(UserError, match=re.escape(message)):
        gt.pretrain(**settings)
