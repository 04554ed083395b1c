"""Several processes against one with the whole batch: loss and gradient."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from gravis_kernels import clip_loss, gravis_loss, nt_xent_loss, siglip_loss, supcon_loss
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

LOSSES: dict[str, Callable[..., Tensor]] = {"gravis": gravis_loss, "nt-xent": nt_xent_loss}
CASES: list[tuple[str, dict[str, Any]]] = [
    ("gravis", {}),
    ("gravis", {"penalty": "hinge"}),
    ("gravis", {"negatives": "mean", "backend": "reference"}),
    ("gravis", {"penalty": "hinge", "negatives": "logsumexp", "normalize": False}),
    ("gravis", {"attention": "rank"}),
    ("nt-xent", {}),
]


def run(worker: Callable[..., None], processes: int, folder: Path, *arguments: Any) -> None:
    arguments = (worker, processes, str(folder / "store"), arguments)
    mp.start_processes(_start, arguments, processes, start_method="forkserver")


def _start(rank: int, worker: Callable[..., None], processes: int, store: str, arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=processes)
    dist.barrier()  # a process that leaves early would cut off one that is still connecting
    try:
        worker(rank, *arguments)
    finally:
        dist.destroy_process_group()


def own_part(whole: Tensor, sources: list[int], rank: int) -> slice:
    assert sum(sources) == len(whole)
    first = sum(sources[:rank])
    return slice(first, first + sources[rank])


def batch(sources: int) -> Tensor:
    return torch.randn(sources, 3, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def assert_share_of(expected: Tensor, whole: Tensor, own: slice, loss_of: Callable[[Tensor], Tensor]) -> Tensor:
    """`loss_of` this process's part of the batch is the loss of the whole, with its gradient; returns the part."""
    (gradient,) = torch.autograd.grad(expected, whole)
    leaf = whole[own].detach().requires_grad_()
    loss = loss_of(leaf)
    loss.backward()
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(leaf.grad, gradient[own], rtol=1e-10, atol=1e-14)
    return leaf


def equals_one_process(rank: int, sources: list[int]) -> None:
    whole = batch(sum(sources)).requires_grad_()
    own = own_part(whole, sources, rank)
    for name, arguments in CASES:
        expected = LOSSES[name](whole, **arguments)
        together = partial(LOSSES[name], process_group=dist.group.WORLD, **arguments)
        leaf = assert_share_of(expected, whole, own, together)
        with torch.no_grad():
            silent = together(leaf)
        torch.testing.assert_close(silent, expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("sources", [[3, 3], [1, 2, 4, 1]], ids=["two-equal", "four-unequal"])
def test_loss_and_gradient_equal_one_process_with_the_whole_batch(sources: list[int], tmp_path: Path) -> None:
    run(equals_one_process, len(sources), tmp_path, sources)


def trains_as_one_process(rank: int) -> None:
    whole = batch(6).float()
    torch.manual_seed(1)
    alone = nn.Linear(6, 4)
    gravis_loss(alone(whole)).backward()
    torch.manual_seed(1)
    together = DistributedDataParallel(nn.Linear(6, 4))
    loss = gravis_loss(together(whole[own_part(whole, [4, 2], rank)]), process_group=dist.group.WORLD)
    (loss * dist.get_world_size()).backward()
    torch.testing.assert_close(together.module.weight.grad, alone.weight.grad, rtol=1e-4, atol=1e-7)


def test_scaled_loss_under_distributed_data_parallel_trains_as_one_process(tmp_path: Path) -> None:
    run(trains_as_one_process, 2, tmp_path)


def compiles(rank: int) -> None:
    def loss(z: Tensor) -> Tensor:
        return gravis_loss(z, process_group=dist.group.WORLD)

    whole = batch(4)
    own = whole[own_part(whole, [2, 2], rank)]
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(own), gravis_loss(whole), rtol=1e-12, atol=0)


def test_compiles_as_one_graph_with_a_process_group(tmp_path: Path) -> None:
    run(compiles, 2, tmp_path)


def refuses_unequal_views(rank: int) -> None:
    with pytest.raises(ValueError, match="rank 0: views 2, dim 5, 32 bit; rank 1: views 3, dim 5, 32 bit"):
        gravis_loss(torch.randn(2, 2 + rank, 5), process_group=dist.group.WORLD)


def test_unequal_numbers_of_views_are_refused_on_every_process(tmp_path: Path) -> None:
    run(refuses_unequal_views, 2, tmp_path)


def refuses_different_settings(rank: int) -> None:
    group, z = dist.group.WORLD, batch(4)[2 * rank : 2 * rank + 2].float()
    labels, one = torch.zeros(6, dtype=torch.long), torch.tensor(0.2)
    learned = torch.tensor(0.2 + 0.1 * rank, requires_grad=True)
    calls: list[Callable[[], Tensor]] = [
        lambda: gravis_loss(z, temperature=0.2 + rank, process_group=group),
        lambda: gravis_loss(z, margin=0.1 * rank, process_group=group),
        lambda: gravis_loss(z, normalize=rank == 0, process_group=group),
        lambda: gravis_loss(z, extra_negatives=torch.ones(3 + rank, 6), process_group=group),
        lambda: nt_xent_loss(z, temperature=one if rank else 0.2, process_group=group),
        lambda: nt_xent_loss(z, temperature=learned, process_group=group),
        lambda: supcon_loss(z.flatten(0, 1), labels, temperature=0.2 + rank, process_group=group),
        lambda: supcon_loss(z.flatten(0, 1), labels, temperature=learned, process_group=group),
        lambda: clip_loss(*z.unbind(1)[:2], logit_scale=5.0 + rank, process_group=group),
        lambda: siglip_loss(*z.unbind(1)[:2], logit_scale=1.0, logit_bias=learned, process_group=group),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=f"but rank 1 differs from rank 0; rank {rank} has"):
            call()


def test_different_settings_are_refused_on_every_process(tmp_path: Path) -> None:
    run(refuses_different_settings, 2, tmp_path)


def test_one_source_in_all_is_refused(tmp_path: Path) -> None:
    run(refuses_one_source, 1, tmp_path)


def refuses_one_source(rank: int) -> None:
    with pytest.raises(ValueError, match="at least 2 sources to have negatives, got 1 in the process group"):
        gravis_loss(torch.randn(1, 2, 5), process_group=dist.group.WORLD)


def refuses_a_process_without_sources(rank: int) -> None:
    with pytest.raises(ValueError, match="every process needs at least 1 source, rank 1 has none"):
        gravis_loss(torch.randn(3 * (1 - rank), 2, 5), process_group=dist.group.WORLD)


def test_a_process_without_sources_is_refused_on_every_process(tmp_path: Path) -> None:
    run(refuses_a_process_without_sources, 2, tmp_path)


def refuses_outsiders(rank: int) -> None:
    group = dist.new_group([0])
    embeddings = torch.randn(2, 2, 5)
    if rank == 0:
        assert gravis_loss(embeddings, process_group=group) == gravis_loss(embeddings)
    else:
        with pytest.raises(ValueError, match="this process is not in process_group"):
            gravis_loss(embeddings, process_group=group)


def test_a_process_outside_the_group_is_refused(tmp_path: Path) -> None:
    run(refuses_outsiders, 2, tmp_path)


def gives_the_loss_alone_beside_a_process_that_learns(rank: int) -> None:
    whole = batch(4)
    own = whole[own_part(whole, [2, 2], rank)].requires_grad_(rank == 0)
    torch.testing.assert_close(gravis_loss(own, process_group=dist.group.WORLD), gravis_loss(whole))


def test_a_process_that_needs_no_gradient_keeps_step_with_one_that_does(tmp_path: Path) -> None:
    run(gives_the_loss_alone_beside_a_process_that_learns, 2, tmp_path)
