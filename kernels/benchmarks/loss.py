"""Benchmark time, memory and gradient error of the losses against other implementations.

    python kernels/benchmarks/loss.py --device cpu --sources 16 32 256 --views 20 --loss hinge rank --out
    out.json

Peers take turns in one process: every round runs each of them once, so that all see the same conditions.
Requires torch, and triton on a GPU. Uses rich for the table, if installed, and also measures pytorch-metric-learning,
lightly and inf-cl, if installed.
"""

import argparse
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from bounds import Gpu, least_seconds, list_passes
from gravis_kernels import gravis_loss, nt_xent_loss, supcon_loss
from measure import available_bytes, describe_machine, measure_extra_bytes, measure_seconds
from peer_losses import TEMPERATURE, Loss, labelled, queue_loss, towers_loss
from peers import FAMILY, LOSSES, Peer, list_peers, subject
from report import Row, median, show, write_json
from torch import Tensor

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
LARGEST_BATCH_FOR_ERROR = 8192  # float64 is slow beyond this


@dataclass
class Runner:
    """A loss with its embeddings and the row for its measurements."""

    peer: Peer
    loss: Loss
    embeddings: Tensor
    row: Row

    def forward(self) -> None:
        with torch.no_grad():
            self.loss(self.embeddings)

    def forward_backward(self) -> None:
        self.embeddings.grad = None
        self.loss(self.embeddings).backward()

    @property
    def seconds_spent(self) -> float:
        return sum(self.row.forward) + sum(self.row.forward_backward)


def main() -> None:
    arguments = parse()
    device = torch.device(arguments.device)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    machine = describe_machine(device)
    rows: list[Row] = []
    for loss in arguments.loss:
        for sources in sorted(arguments.sources):
            rows += measure_batch(loss, sources, device, arguments, rows)
            write_json(arguments.out, rows, machine, vars(arguments) | {"out": arguments.out.name})
    show(rows, machine)
    print(f"wrote {arguments.out}")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default_device = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", choices=("cpu", "cuda"), default=default_device)
    parser.add_argument("--sources", type=int, nargs="+", default=[16, 32])
    parser.add_argument("--views", type=int, default=20)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--dtype", choices=DTYPES, default="float32")
    parser.add_argument("--loss", choices=LOSSES, nargs="+", default=["hinge"])
    parser.add_argument("--backend", default="auto", help="backend of gravis_kernels")
    parser.add_argument("--rounds", type=int, default=20, help="samples per peer, if the budget allows")
    parser.add_argument("--budget", type=float, default=30, help="seconds per peer and batch size")
    parser.add_argument("--memory", type=float, help="GiB per peer (default: 80 %% of free memory)")
    parser.add_argument("--threads", type=int, help="CPU threads of PyTorch")
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    return parser.parse_args()


def measure_batch(
    loss: str, sources: int, device: torch.device, arguments: argparse.Namespace, earlier: list[Row]
) -> list[Row]:
    """Measure all peers at one batch size, in turns."""
    torch._dynamo.reset()
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(sources, 1, arguments.dim, generator=generator)
    embeddings = centres + torch.randn(sources, arguments.views, arguments.dim, generator=generator)
    embeddings = embeddings.to(device, DTYPES[arguments.dtype])

    rows, runners = [], []
    for peer in [subject(loss, arguments.backend), *list_peers(loss, device.type)]:
        row = Row(loss, peer.name, sources, arguments.views, sources * arguments.views)
        rows.append(row)
        print(f"{loss}, batch {row.batch}: {peer.name}", flush=True)
        row.note = reason_to_skip(peer, row, device, arguments, earlier)
        runner = None if row.note else start(peer, row, embeddings, device)
        if runner is not None:
            runners.append(runner)
    for _ in range(arguments.rounds):
        for runner in runners:
            if runner.seconds_spent < arguments.budget:
                runner.row.forward.append(measure_seconds(runner.forward, device))
                runner.row.forward_backward.append(measure_seconds(runner.forward_backward, device))
    for runner in runners:
        finish(runner, loss, embeddings, device, rows[0])
    return rows


def reason_to_skip(
    peer: Peer, row: Row, device: torch.device, arguments: argparse.Namespace, earlier: list[Row]
) -> str:
    """Why the peer is not run at this batch size; empty if it is."""
    needed = peer.memory(row.batch, row.views) * DTYPES[arguments.dtype].itemsize / 4
    allowed = arguments.memory * 2**30 if arguments.memory else 0.8 * available_bytes(device)
    if needed > allowed:
        return f"skipped: would take about {needed / 2**30:.3g} GiB, the limit is {allowed / 2**30:.3g} GiB"
    smaller = [other for other in earlier if (other.loss, other.peer) == (row.loss, row.peer)]
    smaller = [other for other in smaller if other.forward_backward]
    if not smaller or peer.name.startswith("gravis_kernels"):
        return ""
    expected = (median(smaller[-1].forward_backward) or 0) * (row.batch / smaller[-1].batch) ** peer.growth
    if expected > arguments.budget:
        return f"skipped: would take about {expected:.0f} s, the limit is {arguments.budget:.0f} s"
    return ""


def start(peer: Peer, row: Row, embeddings: Tensor, device: torch.device) -> Runner | None:
    """Build the peer, run it once, and measure its memory; None if it cannot run, with the reason in row.note."""
    try:
        runner = Runner(peer, peer.build(row.views), embeddings.clone().requires_grad_(), row)

        def first() -> None:
            row.first_call = measure_seconds(runner.forward_backward, device)

        row.extra_bytes = measure_extra_bytes(first, device)
        if peer.compiled:
            runner.forward()  # a separate graph, whose compilation must not be a sample either
        # one-time allocations of the first call are not the loss's memory; slow peers are not run again
        if row.first_call is not None and row.first_call < 5:
            row.extra_bytes = measure_extra_bytes(runner.forward_backward, device)
    except ImportError as error:
        row.note = f"not installed: {error.name}"
    except (torch.OutOfMemoryError, MemoryError):
        row.note = "out of memory"
    except RuntimeError as error:
        enough = "not enough memory" not in str(error) and "can't allocate" not in str(error)
        row.note = f"failed: {str(error).splitlines()[0]}" if enough else "out of memory"
    except ValueError as error:
        row.note = str(error)
    return None if row.note else runner


def finish(runner: Runner, loss: str, embeddings: Tensor, device: torch.device, subject_row: Row) -> None:
    """Add the ratio, gradient error and share of the bound to the row."""
    row = runner.row
    ours, own = median(subject_row.forward_backward), median(row.forward_backward)
    if ours and own:
        row.times_of_subject = own / ours
    if runner.peer.same and row.batch <= LARGEST_BATCH_FOR_ERROR:
        runner.forward_backward()
        expected = exact_gradient(loss, embeddings)
        assert runner.embeddings.grad is not None
        row.gradient_error = float((runner.embeddings.grad - expected).norm() / expected.norm())
    if device.type == "cuda" and row is subject_row and own:
        row.share_of_bound = bound(loss, embeddings, device) / own


def exact_gradient(loss: str, embeddings: Tensor) -> Tensor:
    """Gradient in float64 by the streaming backend, which is tested against the dense reference."""
    leaf = embeddings.double().requires_grad_()
    if loss == "nt-xent":
        nt_xent_loss(leaf, backend="streaming").backward()
    elif loss == "supcon":
        supcon_loss(*labelled(leaf), temperature=TEMPERATURE, backend="streaming").backward()
    elif loss == "queue":
        queue_loss(leaf, "streaming").backward()
    elif loss in ("clip", "siglip"):
        towers_loss(loss, leaf, "streaming").backward()
    else:
        gravis_loss(leaf, backend="streaming", **asdict(FAMILY[loss])).backward()
    assert leaf.grad is not None
    return leaf.grad


def bound(loss: str, embeddings: Tensor, device: torch.device) -> float:
    """Seconds that the passes of a loss take at least (bounds.py), by the data sheet and without L2."""
    properties = torch.cuda.get_device_properties(device)
    gpu = Gpu(min(properties.major, 10), properties.multi_processor_count, properties.clock_rate * 1e3)
    sources, views, dim = embeddings.shape
    return least_seconds(list_passes(loss, views), sources * views, dim, gpu, embeddings.element_size())


if __name__ == "__main__":
    started = time.perf_counter()
    main()
    print(f"took {time.perf_counter() - started:.0f} s")
