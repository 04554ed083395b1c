"""Every kernel compiles for every GPU of the launch table, without spilling and within its shared memory."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "kernels" / "benchmarks"
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="triton is for Linux only")


def without_interpreter(cache: Path, *arguments: str) -> str:
    """What Python prints when triton is imported to compile: that is decided for a whole process."""
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    path = os.pathsep.join([str(BENCHMARKS), str(BENCHMARKS.parent)])
    environment |= {"TRITON_CACHE_DIR": str(cache), "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("compiled")
    out = folder / "reports.json"
    without_interpreter(folder / "cache", str(BENCHMARKS / "instructions.py"), "--once", "--out", str(out))
    return json.loads(out.read_text())["kernels"]


def test_every_kernel_is_there_for_every_target(reports: list[dict[str, Any]]) -> None:
    kernels = {
        "thresholds", "tile_bounds", "sweep", "finish_mean", "weigh_rank", "finish_rank", "sum_exp", "sum_exp_shifted",
        "weigh_logsumexp", "grad_logsumexp", "finish_logsumexp", "grad_supcon", "grad_clip", "grad_siglip",
    }  # fmt: skip
    for target in ("sm80", "sm90", "sm100", "gfx942"):
        assert {r["kernel"] for r in reports if r["target"] == target} == kernels


@pytest.fixture
def default(reports: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The two passes of the default loss: bfloat16, 128 dimensions, Hopper."""
    passes = {
        r["kernel"]: r
        for r in reports
        if (r["target"], r["dtype"], r["dim"]) == ("sm90", "bfloat16", 128)
        and (r["loss"], r["kernel"] in ("sum_exp", "grad_logsumexp")) == ("softmax-softplus-logsumexp", True)
    }
    assert len(passes) == 2
    return passes


def test_the_default_loss_does_not_spill_on_hopper(default: dict[str, dict[str, Any]]) -> None:
    assert [r for r in default.values() if r["spilled_bytes"] > 0] == []


def test_instructions_of_the_default_loss_per_similarity_on_hopper(
    default: dict[str, dict[str, Any]],
) -> None:
    """In a tile of negatives alone; the mask of the few others stands apart. Sums visit half of the similarities."""
    assert 5 < default["sum_exp"]["rest_of_tile"] <= 6
    assert 7 < default["grad_logsumexp"]["rest_of_tile"] <= 8.5
    assert all(r["mask"] > 3 for r in default.values())


def test_two_programs_of_the_default_loss_fit_on_a_multiprocessor_of_hopper(
    default: dict[str, dict[str, Any]],
) -> None:
    """It has 228 KiB of shared memory, of which each program reserves one."""
    assert all(2 * (r["shared_bytes"] + 1024) <= 228 * 1024 for r in default.values())
    assert all(2 * 32 * r["constants"]["num_warps"] * r["registers"] <= 65536 for r in default.values())


def test_the_default_loss_loads_columns_while_it_computes(default: dict[str, dict[str, Any]]) -> None:
    assert all(r["asynchronous_copies"] >= 2 for r in default.values())  # before the loop and in it


def test_no_kernel_spills_more_than_a_few_registers(reports: list[dict[str, Any]]) -> None:
    """Each version of Triton spills up to 40 bytes of another few variants; more would be a change of the kernel."""
    assert [r for r in reports if r["spilled_bytes"] > 64] == []


def test_shared_memory_suffices(reports: list[dict[str, Any]]) -> None:
    assert [r for r in reports if r["shared_bytes"] > r["shared_limit"]] == []


def test_a_triple_costs_at_most_ten_instructions_on_hopper(reports: list[dict[str, Any]]) -> None:
    """bfloat16, 128 dimensions, hinge: loss and gradient in one pass, both directions of a pair."""
    (report,) = [
        r
        for r in reports
        if (r["target"], r["kernel"], r["loss"]) == ("sm90", "sweep", "softmax-hinge-mean")
        and (r["dtype"], r["dim"]) == ("bfloat16", 128)
    ]
    assert {loop["direction"] for loop in report["loops"]} == {"rows", "columns"}
    assert 5 < report["instructions_per_triple"] <= 10


def test_losses_of_two_towers_do_not_spill(reports: list[dict[str, Any]]) -> None:
    towers = [r for r in reports if r["loss"] in ("clip", "siglip")]
    assert len(towers) == 5 * 3  # SigLIP's kernel for images also computes the loss; Hopper: two precisions
    assert [r for r in towers if r["spilled_bytes"] > 0] == []


def test_numbers_of_sources_and_losses_share_kernels(tmp_path: Path) -> None:
    code = """
import instructions
hinge, default, supcon = (
    instructions.Case("sm90", loss, 128, 2, 20, True)
    for loss in ("softmax-hinge-mean", "softmax-softplus-logsumexp", "supcon")
)
few, many = (instructions.recorded(hinge, sources) for sources in (2, 160))
assert few == many
for launch in few:
    integers = [name for name, kind in launch.signature.items() if kind == "i32"]
    assert set(integers) <= set(launch.kernel.do_not_specialize), (launch.kernel.__name__, integers)
sums, gradient = instructions.recorded(supcon)
assert sums in instructions.recorded(default)
print(*[launch.kernel.__name__ for launch in (*few, sums, gradient)])
"""
    printed = without_interpreter(tmp_path, "-c", code)
    assert printed == "thresholds tile_bounds sweep finish_mean sum_exp grad_supcon\n"
