"""A queue of earlier embeddings as further negatives."""

import pytest
import torch
from gravis_kernels import gravis_loss, nt_xent_loss

from gravis_triton.losses import EmbeddingQueue, Objective
from gravis_triton.settings import LossSettings


def embeddings(seed: int, sources: int = 3) -> torch.Tensor:
    return torch.randn(sources, 2, 4, generator=torch.Generator().manual_seed(seed))


def test_it_holds_the_last_views_the_oldest_first():
    queue = EmbeddingQueue(8)
    assert queue.embeddings is None
    first, second = embeddings(0), embeddings(1)
    queue.add(first)
    assert torch.equal(queue.embeddings, first.flatten(0, 1))
    queue.add(second)
    assert torch.equal(queue.embeddings, torch.cat([first.flatten(0, 1)[-2:], second.flatten(0, 1)]))
    queue.add(embeddings(2, sources=9))
    assert torch.equal(queue.embeddings, embeddings(2, sources=9).flatten(0, 1)[-8:])


def test_embeddings_that_are_not_finite_stay_out():
    queue, spoiled = EmbeddingQueue(8), embeddings(0)
    spoiled[0, 0, 1], spoiled[1, 1, 0] = torch.nan, torch.inf
    queue.add(spoiled)
    assert torch.equal(queue.embeddings, spoiled.flatten(0, 1)[[1, 2, 4, 5]])


def test_its_state_is_that_of_another():
    queue, other = EmbeddingQueue(8), EmbeddingQueue(8)
    other.load_state_dict(queue.state_dict())
    assert other.embeddings is None
    queue.add(embeddings(0).requires_grad_())
    other.load_state_dict(queue.state_dict())
    assert torch.equal(other.embeddings, queue.embeddings)
    assert not other.embeddings.requires_grad


@pytest.mark.parametrize("name", ["gravis", "nt-xent"])
def test_its_embeddings_are_negatives_of_the_next_step(name):
    loss = {
        "gravis": gravis_loss,
        "nt-xent": lambda z, **given: nt_xent_loss(z, temperature=0.2, **given),
    }[name]
    objective = Objective(LossSettings(loss=name, queue=100))
    first, second = embeddings(0), embeddings(1)
    assert objective(first) == loss(first)
    objective.queue.add(first)
    assert objective(second) == loss(second, extra_negatives=first.flatten(0, 1))
    assert objective(second) > loss(second)


def test_without_one_there_are_no_further_negatives():
    assert Objective(LossSettings()).queue is None
