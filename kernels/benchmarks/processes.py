"""Time that one of several processes takes for its share of the default loss over the global batch.

    python kernels/benchmarks/processes.py --device cpu --threads 1 --sources 256 --processes 1 2 4 8 16

No other process runs: what the others would send is computed beforehand, and communication is not counted. The
numbers of processes take turns, so that all see the same conditions.
"""

import argparse
import statistics

import torch
from gravis_kernels.gravis.compute import prepare
from gravis_kernels.settings import DEFAULTS
from measure import measure_seconds
from torch import Tensor
from torch.nn.functional import normalize


class FirstProcess:
    """The first of any number of processes; z: (sources, views, dim), normalized."""

    def __init__(self, z: Tensor) -> None:
        self.views = z.shape[1]
        columns = z.flatten(0, 1)
        self.compute, self.columns = prepare("auto", columns, columns.dtype, "gravis")
        self.of_all: Tensor | None = None
        self.share(1)

    def share(self, processes: int) -> tuple[Tensor, Tensor]:
        """Its share of the loss, and the gradient of its rows."""
        rows = len(self.columns) // processes
        return self.compute(self.columns, 0, rows, self.views, DEFAULTS, True, unit_rows=True, gather=self.gather)

    def gather(self, own: Tensor) -> Tensor:
        if self.of_all is None:
            self.of_all = own  # a single process has the values of all
        return self.of_all


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, help="CPU threads of PyTorch")
    parser.add_argument("--sources", type=int, default=256, help="divisible by all values of --processes")
    parser.add_argument("--views", type=int, default=20)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    parser.add_argument("--rounds", type=int, default=11)
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    device = torch.device(arguments.device)
    torch.manual_seed(0)
    z = torch.randn(arguments.sources, arguments.views, arguments.dim, device=device)
    first = FirstProcess(normalize(z, dim=2))
    seconds: dict[int, list[float]] = {n: [] for n in arguments.processes}
    for _ in range(arguments.rounds):
        for n, times in seconds.items():
            times.append(measure_seconds(lambda n=n: first.share(n), device))
    alone = statistics.median(seconds[arguments.processes[0]])
    print(f"{len(first.columns):,} views, {arguments.dim} dimensions; medians of {arguments.rounds} rounds")
    for n, times in seconds.items():
        median = statistics.median(times)
        print(f"{n:4} processes: {1e3 * median:8.2f} ms each, {alone / median:5.1f}x speedup")


if __name__ == "__main__":
    main()
