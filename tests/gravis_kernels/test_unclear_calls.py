"""Calls that look right but are not are errors, and constant tensors are numbers."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from gravis_kernels import ClipLoss, GravisLoss, LearnedTemperature, NTXentLoss, SupConLoss, nt_xent_loss, supcon_loss
from torch import nn

ROWS, KEYS = torch.randn(2, 6, 5, generator=torch.Generator().manual_seed(0)).unbind()
LABELS = torch.tensor([0, 0, 1, 1, 2, 2])
VIEWS = ROWS.view(3, 2, 5)


def _constant(*values: float) -> nn.Parameter:
    return nn.Parameter(torch.tensor(values).squeeze(), requires_grad=False)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nt_xent_loss(VIEWS, queue=KEYS), "queue holds the negatives of queries with keys"),
        (lambda: nt_xent_loss(VIEWS, references=(KEYS, LABELS)), "references need the labels"),
        (lambda: nt_xent_loss(ROWS, LABELS, references=(KEYS[:0], LABELS[:0])), "references must have at least one"),
        (lambda: nt_xent_loss(ROWS[:1], keys=KEYS[:1]), "needs at least 2 queries, or 1 with a queue, got 1"),
        (lambda: nt_xent_loss(ROWS[:0], keys=KEYS[:0], queue=KEYS), "or 1 with a queue, got 0"),
        (lambda: NTXentLoss()(ROWS, KEYS, ref_emb=KEYS, ref_labels=LABELS), "two views have neither pairs"),
        (lambda: SupConLoss()(ROWS, LABELS, ref_emb=KEYS, ref_labels=LABELS), r"ref_labels\.clone\(\)"),
        (lambda: SupConLoss()(ROWS, LABELS, ref_emb=ROWS, ref_labels=LABELS.clone()), "leaves out the pairs"),
        (lambda: ClipLoss(rank=1, world_size=8), "world_size 8 needs torch.distributed.init_process_group before"),
        (
            lambda: GravisLoss(temperature=_constant(-0.1))(VIEWS),
            "temperature must be positive",
        ),
        (lambda: GravisLoss(temperature=_constant(1.0, 1.0))(VIEWS), "temperature must be one number"),
    ],
)
def test_what_would_be_ignored_or_meaningless_is_an_error(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_a_learned_temperature_is_its_value_where_nothing_is_learned() -> None:
    module = GravisLoss(temperature=LearnedTemperature(0.2))
    trained, constant = module(VIEWS), GravisLoss(temperature=0.2)(VIEWS)
    with torch.no_grad():
        torch.testing.assert_close(module(VIEWS), constant)
        compiled = torch.compile(module, fullgraph=True, backend="eager")
        torch.testing.assert_close(compiled(VIEWS), constant)
    torch.testing.assert_close(trained, constant)
    torch.testing.assert_close(module.requires_grad_(False)(VIEWS), constant)


@pytest.mark.parametrize("loss", [nt_xent_loss, supcon_loss])
def test_labels_may_be_boolean(loss: Callable[..., torch.Tensor]) -> None:
    assert loss(ROWS, LABELS > 0) == loss(ROWS, (LABELS > 0).long())
