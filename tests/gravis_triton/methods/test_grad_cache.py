import sys
from pathlib import Path

import pytest
import torch
from forked import run_script
from torch import nn

sys.path.insert(0, str(Path(__file__).parent))
from small_methods import small_method

VIEWS = torch.randn(6, 4, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def gradients(encoder: nn.Module, features: int, chunk: int | None, dtype: torch.dtype) -> list[torch.Tensor]:
    """The loss, and its gradient by each parameter."""
    torch.manual_seed(0)
    method = small_method(encoder, features, chunk).to(dtype)
    torch.manual_seed(3)
    loss, _ = method(VIEWS.to(dtype), None, 0)
    loss.backward()
    return [loss.detach(), *(p.grad.clone() for p in method.parameters())]


def convolution(*extra: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.GELU(), nn.Flatten(), *extra)


@pytest.mark.parametrize("chunk", [1, 5, 8, 23])
def test_chunks_give_the_gradient_of_the_whole_batch(chunk):
    whole, chunked = (gradients(convolution(nn.LayerNorm(288)), 288, size, torch.float64) for size in (None, chunk))
    for ours, expected in zip(chunked, whole, strict=True):
        assert (ours - expected).norm() <= 1e-10 * expected.norm()


def test_recomputed_chunks_repeat_their_dropout():
    seen: list[torch.Tensor] = []

    class Recorder(nn.Dropout):
        def forward(self, x):
            seen.append(super().forward(x))
            return seen[-1]

    gradients(convolution(Recorder(0.5)), 288, 12, torch.float32)
    first, second = seen[:2], seen[2:]
    assert not torch.equal(first[0], first[1])
    for recomputed in second:
        assert any(torch.equal(recomputed, chunk) for chunk in first)


def test_batch_norm_counts_each_chunk_once():
    encoder = nn.Sequential(nn.BatchNorm2d(3), nn.Flatten())
    gradients(encoder, 192, 12, torch.float32)
    expected = nn.BatchNorm2d(3)
    for chunk in VIEWS.flatten(0, 1).split(12):
        expected(chunk)
    assert torch.allclose(encoder[0].running_mean, expected.running_mean)
    assert torch.allclose(encoder[0].running_var, expected.running_var)
    assert encoder[0].momentum == 0.1


@pytest.fixture
def run_processes(fork, tmp_path_factory):
    """Loss and gradient of a step that several processes take together."""

    def run(processes: int, chunk: int) -> dict[str, torch.Tensor]:
        file = tmp_path_factory.mktemp("result") / "result.pt"
        script = Path(__file__).with_name("distributed_gradient.py")
        flags = (str(file), str(processes), str(chunk))
        status, _, err = fork(run_script, script, *flags, processes=processes, ACCELERATE_USE_CPU="true").wait()
        assert status == 0, err
        return torch.load(file)

    return run


@pytest.mark.parametrize(("processes", "chunk"), [(2, 5), (4, 0)])
def test_processes_together_get_the_gradient_of_one_process_on_the_whole_batch(run_processes, processes, chunk):
    one_process = run_processes(1, 0)
    together = run_processes(processes, chunk)
    assert together["loss"].item() == pytest.approx(one_process["loss"].item(), rel=1e-12)
    for name, expected in one_process.items():
        assert (together[name] - expected).norm() <= 1e-10 * expected.norm(), name
