import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from torch import nn

from gravis_triton.losses import Objective
from gravis_triton.settings import LossSettings
from gravis_triton.training import backward

VIEWS = torch.randn(6, 4, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def gradients(model: nn.Module, views: torch.Tensor, chunk: int) -> tuple[torch.Tensor, list[torch.Tensor]]:
    model.zero_grad()
    torch.manual_seed(3)
    loss, _ = backward(model, views, Objective(LossSettings()), Accelerator(cpu=True), chunk)
    return loss, [p.grad.clone() for p in model.parameters()]


def plain_model(*extra: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.GELU(), nn.Flatten(), *extra, nn.Linear(8 * 36, 16))


@pytest.mark.parametrize("chunk", [1, 5, 8, 23])
def test_encoding_in_chunks_gives_the_gradient_of_the_whole_batch(chunk):
    model = plain_model(nn.LayerNorm(8 * 36)).double()
    whole, chunked = (gradients(model, VIEWS.double(), c) for c in (None, chunk))
    assert chunked[0].item() == pytest.approx(whole[0].item(), rel=1e-12)
    for ours, expected in zip(chunked[1], whole[1], strict=True):
        assert (ours - expected).norm() <= 1e-10 * expected.norm()


def test_the_second_encoding_of_a_chunk_drops_out_what_the_first_one_did():
    class Recorder(nn.Dropout):
        seen: list[torch.Tensor] = []  # noqa: RUF012

        def forward(self, x):
            out = super().forward(x)
            self.seen.append(out.detach().clone())
            return out

    model = plain_model(Recorder(0.5))
    gradients(model, VIEWS, 12)
    first, second = Recorder.seen[:2], Recorder.seen[2:]
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert not torch.equal(first[0], first[1])


def test_in_chunks_batch_norm_counts_each_chunk_once():
    model = nn.Sequential(nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(192, 16))
    gradients(model, VIEWS, 12)
    expected = nn.BatchNorm2d(3)
    for chunk in VIEWS.flatten(0, 1).split(12):
        expected(chunk)
    assert torch.allclose(model[0].running_mean, expected.running_mean)
    assert torch.allclose(model[0].running_var, expected.running_var)
    assert model[0].momentum == 0.1


def run_processes(processes: int, chunk: int, file: Path) -> dict[str, torch.Tensor]:
    subprocess.run(
        [
            *(
                sys.executable,
                "-m",
                "torch.distributed.run",
                "--standalone",
                "--nproc_per_node",
                str(processes),
            ),
            *(
                str(Path(__file__).with_name("distributed_gradient.py")),
                str(file),
                str(processes),
                str(chunk),
            ),
        ],
        env={**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"},
        check=True,
        capture_output=True,
        timeout=240,
    )
    return torch.load(file)


@pytest.fixture(scope="module")
def one_process(tmp_path_factory):
    return run_processes(1, 0, tmp_path_factory.mktemp("one") / "result.pt")


@pytest.mark.parametrize(("processes", "chunk"), [(2, 5), (4, 0)])
def test_processes_together_get_the_gradient_of_one_process_on_the_whole_batch(
    tmp_path, one_process, processes, chunk
):
    together = run_processes(processes, chunk, tmp_path / "result.pt")
    assert together["loss"].item() == pytest.approx(one_process["loss"].item(), rel=1e-12)
    for name, expected in one_process.items():
        assert (together[name] - expected).norm() <= 1e-10 * expected.norm(), name
