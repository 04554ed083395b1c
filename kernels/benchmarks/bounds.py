"""Lower bounds on the time of a loss and its gradient on an NVIDIA GPU, from the pipes that its passes use.

    python kernels/benchmarks/bounds.py

prints them for an H200: the default loss pass by pass, beside what was measured, and other ways to compute it. They are
calculated: perfectly overlapping pipes, no launch overhead, no stalls.
"""

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass

# per multiprocessor and clock: FLOPs of bfloat16 products (by compute capability), exponentials, instructions, and
# bytes of shared memory
TENSOR = {8: 2048, 9: 4096, 10: 8192}
MUFU, ISSUE, SHARED = 16, 128, 128
FLOAT32 = 6  # three tf32 products, each at half the rate
MMA_ROWS = 64  # of its left operand, which a product instruction reads with all of the right one


@dataclass(frozen=True)
class Gpu:
    """tensor: FLOPs per second of bfloat16 products, if not those of the data sheet; l2, memory: bytes per second."""

    capability: int
    multiprocessors: int
    hertz: float
    tensor: float | None = None
    l2: float = math.inf
    memory: float = math.inf


# tensor and L2 as this GPU reaches them: in products of large matrices, and in the first pass of version 0.2
H200 = Gpu(capability=9, multiprocessors=132, hertz=1.98e9, tensor=790e12, l2=6.1e12, memory=4.8e12)


@dataclass(frozen=True)
class Pass:
    """What a kernel does per similarity: products of 2 * dim FLOPs, exponentials, instructions, and bytes of
    batch x batch matrices in memory.

    held: vectors that stay in shared memory while others come from L2; 0: no tiles. right: vectors of the right operand
    of the similarities. mutual: each unordered pair is visited once.
    """

    products: float
    exponentials: float
    instructions: float
    memory: float = 0.0
    held: int = 0
    right: int = 128
    mutual: bool = False

    def l2_bytes(self, vector: int) -> float:
        """vector: bytes of one."""
        return vector / self.held / (1 + self.mutual) if self.held else 0.0

    def shared_bytes(self, vector: int) -> float:
        """Both operands of the similarities, the right ones of further products, and the arrival of what comes."""
        if not self.held:
            return 0.0
        further = self.products * (1 + self.mutual) - 1
        return vector * ((1 + further) / MMA_ROWS + 1 / self.right + 1 / self.held) / (1 + self.mutual)


def seconds_by_pipe(kernel: Pass, batch: int, dim: int, gpu: Gpu, element_size: int = 2) -> dict[str, float]:
    """Seconds that each pipe takes at full rate."""
    clocks = gpu.multiprocessors * gpu.hertz
    flops = kernel.products * 2 * dim * (FLOAT32 if element_size == 4 else 1)
    per_similarity = {
        "tensor": flops / (gpu.tensor or TENSOR[gpu.capability] * clocks),
        "MUFU": kernel.exponentials / MUFU / clocks,
        "issue": kernel.instructions / ISSUE / clocks,
        "L2": kernel.l2_bytes(dim * element_size) / gpu.l2,
        "shared": kernel.shared_bytes(dim * element_size) / SHARED / clocks,
        "memory": kernel.memory / gpu.memory,
    }
    return {pipe: batch * batch * seconds for pipe, seconds in per_similarity.items()}


def least_seconds(passes: Sequence[Pass], batch: int, dim: int, gpu: Gpu, element_size: int = 2) -> float:
    """One pass after the other, each as long as its busiest pipe."""
    return sum(max(seconds_by_pipe(kernel, batch, dim, gpu, element_size).values()) for kernel in passes)


# Instructions: of a tile with only negatives, as compiled for sm90 (instructions.py).
SUMS = Pass(products=0.5, exponentials=0.5, instructions=5.66 / 2, held=128, mutual=True)
GRADIENT = Pass(products=2, exponentials=1, instructions=7.86, held=64)
OLD_SUMS = Pass(products=1, exponentials=1, instructions=5.4, held=64)
OLD_GRADIENT = Pass(products=2, exponentials=1, instructions=7.5, held=64)


def list_passes(loss: str, views: int) -> tuple[Pass, ...]:
    """Of a loss in loss.py; for hinge, softplus and rank, the instructions are those that every triple needs."""
    return {
        "hinge": (Pass(2, 0, 6 * views, held=64),),
        "softplus": (Pass(2, 3 * views, 6 * views, held=64),),
        "rank": (Pass(1, views, 6 * views, held=64), Pass(2, views, 6 * views, held=64)),
        # only a quarter of the similarities of all rows are between the two towers
        "clip": (Pass(2 / 4, 2 / 4, 2 * 5.4 / 4), Pass(4 / 4, 4 / 4, 2 * 7.5 / 4)),
        "siglip": (Pass(4 / 4, 5 / 4, 2 * 12.9 / 4),),
    }.get(loss, (SUMS, GRADIENT))


# Others treat rows and columns as two operands, so each needs its own gradient product; those that store no matrix
# recompute it for the gradient. Dense: similarities, exponentials, their gradient, in bfloat16.
WAYS = {
    "gravis_kernels: sums": (SUMS,),
    "gravis_kernels: gradient": (GRADIENT,),
    "version 0.2: sums": (OLD_SUMS,),
    "version 0.2: gradient": (OLD_GRADIENT,),
    # comparisons run at half rate: two more per triple
    "hinge, 20 views": (Pass(2, 0, 19 * (7.38 + 2) + 12.3, held=64),),
    "tiles, two operands (Inf-CL, cut cross-entropy)": (OLD_SUMS, Pass(3, 1, 7.5, held=64)),
    "dense, torch.compile": (Pass(3, 2, 12.9, memory=6 * 2),),
}
# ms on an H200 (results/h200.json): the passes of version 0.2, and everything else in a call
MEASURED = {16380: (0.158, 0.215, 0.059), 131060: (11.28, 15.00, 0.41)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--batch", type=int, nargs="+", default=[16380, 131060])
    arguments = parser.parse_args()
    for batch in arguments.batch:
        print(f"{batch:,} views, {arguments.dim} dimensions, bfloat16, ms")
        for name, passes in WAYS.items():
            of_passes = [seconds_by_pipe(kernel, batch, arguments.dim, H200) for kernel in passes]
            pipes = "".join(
                f"{pipe:>8} {1e3 * sum(seconds[pipe] for seconds in of_passes):6.2f}" for pipe in of_passes[0]
            )
            least = 1e3 * least_seconds(passes, batch, arguments.dim, H200)
            print(f"  {name:48}{pipes}   at least {least:6.2f}")
        if arguments.dim == 128 and batch in MEASURED:
            print_prediction(batch)


def print_prediction(batch: int) -> None:
    """Each pass takes as much more than its bound as it did in version 0.2."""
    *measured, rest = MEASURED[batch]
    olds, news = (OLD_SUMS, OLD_GRADIENT), (SUMS, GRADIENT)
    ratios = [ms / 1e3 / least_seconds([old], batch, 128, H200) for ms, old in zip(measured, olds, strict=True)]
    predicted = [1e3 * ratio * least_seconds([new], batch, 128, H200) for ratio, new in zip(ratios, news, strict=True)]
    for name, passes, total in (
        ("measured, version 0.2", measured, sum(measured) + rest),
        ("times its bound", ratios, None),
        ("predicted at these ratios", predicted, sum(predicted) + rest),
    ):
        sums, gradient = passes
        all_of_it = "" if total is None else f", {rest:.2f} for the rest: {total:.1f}"
        print(f"  {name:48}sums {sums:.2f}, gradient {gradient:.2f}{all_of_it}")


if __name__ == "__main__":
    main()
