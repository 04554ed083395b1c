"""Modules against those of the libraries that they replace, in float64, on one and two processes."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gravis_kernels
import pytest
import torch
import torch.distributed as dist
from cases import make_embeddings
from gravis_kernels import (
    ClipLoss,
    GravisLoss,
    LearnedTemperature,
    MultiViewNTXentLoss,
    NTXentLoss,
    SigLipLoss,
    SupConLoss,
    gravis_loss,
    nt_xent_loss,
)
from test_anchors import LABELS, assert_same, rows
from test_distributed import run
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, logsigmoid, normalize
from torch.nn.parallel import DistributedDataParallel

REASON = "the test extra installs what the losses are compared with"


@pytest.mark.parametrize("name", ["NTXentLoss", "SupConLoss"])
@pytest.mark.parametrize("temperature", [(), (0.5,)])
def test_pytorch_metric_learning(name: str, temperature: tuple[float, ...]) -> None:
    theirs = getattr(pytest.importorskip("pytorch_metric_learning.losses", reason=REASON), name)(*temperature)
    ours, leaf, other = getattr(gravis_kernels, name)(*temperature), rows(), rows(9).detach().requires_grad_()
    assert_same(ours(leaf, LABELS), theirs(leaf, LABELS), leaf)
    references = {"ref_emb": other, "ref_labels": LABELS[2:]}
    assert_same(ours(leaf, LABELS, **references), theirs(leaf, LABELS, **references), leaf, other)


def test_pairs_of_a_miner_are_an_error() -> None:
    for loss in (NTXentLoss(), SupConLoss()):
        with pytest.raises(ValueError, match="indices_tuple, the pairs of a miner, is not supported"):
            loss(rows(), LABELS, (LABELS, LABELS, LABELS))
        with pytest.raises(ValueError, match="ref_emb and ref_labels belong together: pass both or neither"):
            loss(rows(), LABELS, ref_emb=rows())


@pytest.mark.parametrize("loss", [NTXentLoss(), SupConLoss()])
def test_labels_that_are_no_tensor_are_an_error(loss: NTXentLoss | SupConLoss) -> None:
    with pytest.raises(TypeError, match=r"labels must be a torch\.Tensor, got list"):
        loss(rows(), LABELS.tolist())


def test_second_views_of_another_number_are_an_error() -> None:
    with pytest.raises(ValueError, match=r"second views must have the shape of the first, \(9, 6\), got \(8, 6\)"):
        NTXentLoss()(rows(9), rows(8))


def test_lightly() -> None:
    theirs = pytest.importorskip("lightly.loss", reason=REASON).NTXentLoss
    first, second = rows(6), rows(8)[2:].detach().requires_grad_()
    assert_same(NTXentLoss()(first, second), theirs()(first, second), first, second)
    assert_same(NTXentLoss(0.1)(first, second), theirs(0.1)(first, second), first, second)


def test_a_queue_is_the_memory_bank_of_lightly() -> None:
    theirs = pytest.importorskip("lightly.loss", reason=REASON).NTXentLoss(0.2, memory_bank_size=(20, 6)).double()
    theirs.memory_bank.bank = normalize(theirs.memory_bank.bank)  # drawn in float32
    queue = theirs.memory_bank.bank.clone()
    queries, keys = rows(6), rows(8)[2:].detach()
    assert_same(nt_xent_loss(queries, keys=keys, queue=queue), theirs(queries, keys), queries)


class Towers(nn.Module):
    """Two encoders of which the first serves losses of one, with a scale and a bias."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.first, self.second = nn.Linear(6, 4).double(), nn.Linear(6, 4).double()
        self.scale, self.bias = nn.Parameter(torch.tensor(5.0)), nn.Parameter(torch.tensor(-2.0))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return normalize(self.first(x)), normalize(self.second(x)), self.scale, self.bias


def dense_clip(image: Tensor, text: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """As open_clip."""
    logits, pair = scale * image @ text.T, torch.arange(len(image))
    return (cross_entropy(logits, pair) + cross_entropy(logits.T, pair)) / 2 + 0 * bias


def dense_siglip(image: Tensor, text: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """As open_clip."""
    logits = scale * image @ text.T + bias
    return -logsigmoid((2 * torch.eye(len(image)) - 1) * logits).sum() / len(image)


def trains(loss: Callable[..., Tensor], x: Tensor, model: nn.Module) -> list[Tensor]:
    """Gradients of the parameters; those in no graph are zero."""
    outputs = model(x)
    (loss(*outputs) + 0 * sum(output.sum() for output in outputs)).backward()
    return [parameter.grad.clone() for parameter in model.parameters()]  # type: ignore[union-attr]


def train_as_their_counterparts(rank: int) -> None:
    """Under DistributedDataParallel, whose gradients are means over processes."""
    from lightly.loss import NTXentLoss as LightlyNTXent
    from pytorch_metric_learning import losses
    from pytorch_metric_learning.utils.distributed import DistributedLossWrapper

    group: dict[str, Any] = {"process_group": dist.group.WORLD, "ddp_scale": True}
    # equal parts, as pytorch-metric-learning gathers no others
    x = torch.randn(12, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    own = slice(6 * rank, 6 * rank + 6)
    labels = torch.tensor([0, 1, 2, 0, 1, 3, 3, 0, 1, 2, 4, 0])
    open_clip: dict[str, Any] = {"rank": rank, "world_size": 2}
    pairs: list[tuple[Callable[..., Tensor], Callable[..., Tensor], bool]] = [
        (
            lambda z, *_: SupConLoss(0.1, **group)(z, labels[own]),
            lambda z, *_: DistributedLossWrapper(losses.SupConLoss(0.1))(z, labels[own]),
            False,
        ),
        (
            lambda z, *_: NTXentLoss(0.1, **group)(z, labels[own]),
            lambda z, *_: DistributedLossWrapper(losses.NTXentLoss(0.1))(z, labels[own]),
            False,
        ),
        (
            lambda z, y, *_: NTXentLoss(0.5, **group)(z, y),
            lambda z, y, *_: LightlyNTXent(0.5, gather_distributed=True)(z, y),
            False,
        ),
        (lambda *x: ClipLoss(True, True, True, **open_clip)(*x[:3]), dense_clip, True),
        (SigLipLoss(cache_labels=True, **open_clip), dense_siglip, True),
    ]
    for ours, theirs, on_the_whole_batch in pairs:
        found = trains(ours, x[own], DistributedDataParallel(Towers()))
        part, model = (x, Towers()) if on_the_whole_batch else (x[own], DistributedDataParallel(Towers()))
        known = trains(theirs, part, model)
        torch.testing.assert_close(found, known, rtol=1e-6, atol=1e-12)
    z = normalize(Towers().first(x).detach()).unflatten(0, (-1, 3))
    part = z[2 * rank : 2 * rank + 2].requires_grad_()
    plain, scaled = gravis_loss(part, process_group=dist.group.WORLD), GravisLoss(**group)(part)
    assert plain == scaled
    torch.testing.assert_close(plain, gravis_loss(z), rtol=1e-12, atol=0)
    assert torch.equal(*(torch.autograd.grad(loss, part)[0] for loss in (2 * plain, scaled)))


def test_two_processes_train_as_their_counterparts(tmp_path: Path) -> None:
    pytest.importorskip("pytorch_metric_learning", reason=REASON)
    pytest.importorskip("lightly", reason=REASON)
    run(train_as_their_counterparts, 2, tmp_path)


@pytest.mark.parametrize("module", [GravisLoss, MultiViewNTXentLoss, NTXentLoss, SupConLoss, ClipLoss, SigLipLoss])
def test_modules_show_what_they_were_given(module: Callable[..., nn.Module]) -> None:
    for option, value in (("reduction", "none"), ("ddp_scale", True), ("backend", "reference")):
        assert f"{option}={value!r}" in repr(module(**{option: value}))
        assert option in inspect.signature(module).parameters
    if "temperature" in inspect.signature(module).parameters:
        assert "temperature=0.25" in repr(module(temperature=0.25, normalize=False))
        assert "normalize=False" in repr(module(temperature=0.25, normalize=False))
        assert "LearnedTemperature(0.2, bounds=" in repr(module(temperature=LearnedTemperature(0.2)))


def test_temperatures_of_modules_are_learned() -> None:
    views, flat = make_embeddings(4, 3, 6), make_embeddings(4, 3, 6).flatten(0, 1)
    labels = torch.arange(4).repeat_interleave(3)
    calls: list[tuple[Callable[..., nn.Module], tuple[Tensor, ...]]] = [
        (GravisLoss, (views,)), (GravisLoss, (flat, labels)), (MultiViewNTXentLoss, (views,)),
        (NTXentLoss, (flat, labels)), (NTXentLoss, (flat[:6], flat[6:])), (SupConLoss, (flat, labels)),
    ]  # fmt: skip
    for module, given in calls:
        for temperature in (LearnedTemperature(0.2), nn.Parameter(torch.tensor(0.2))):
            learned, constant = module(temperature=temperature), module(temperature=0.2)
            loss = learned(*given)
            assert loss.item() == pytest.approx(constant(*given).item(), rel=1e-5)
            loss.backward()
            (parameter,) = learned.parameters()
            assert parameter.grad
