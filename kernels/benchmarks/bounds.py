"""Lower bound on the time of a loss and its gradient on an NVIDIA GPU, from the pipes that it uses.

    python kernels/benchmarks/bounds.py

prints it for an H200, next to other ways to compute the default loss. It is a bound, not a prediction: it assumes
perfectly overlapping pipes, no launch overhead and no stalls.
"""

import argparse
import math
from dataclasses import dataclass

# per multiprocessor and clock: FLOPs of bfloat16 products (by compute capability), exponentials, instructions
TENSOR = {8: 2048, 9: 4096, 10: 8192}
MUFU, ISSUE = 16, 128
FLOAT32 = 6  # three tf32 products, each at half the rate


@dataclass(frozen=True)
class Cost:
    """Cost of each of the batch * batch similarities: products of 2 * dim FLOPs, exponentials, instructions, and bytes
    of batch x batch matrices written and read."""

    products: float
    exponentials: float
    instructions: float
    bytes: int = 0


@dataclass(frozen=True)
class Gpu:
    capability: int
    multiprocessors: int
    hertz: float
    bytes_per_second: float = math.inf


H200 = Gpu(capability=9, multiprocessors=132, hertz=1.98e9, bytes_per_second=4.8e12)

# default loss; instructions: a tile with only negatives, as compiled for sm90 (instructions.py)
DEFAULT = Cost(products=3, exponentials=2, instructions=12.9)


def estimate_cost(loss: str, views: int) -> Cost:
    """Cost of a loss in loss.py; for hinge and rank, the compares and additions that every triple needs."""
    return {
        "hinge": Cost(2, 0, 6 * views),
        "softplus": Cost(2, 3 * views, 6 * views),
        "rank": Cost(3, 2 * views, 12 * views),
        # only a quarter of the similarities of all rows are between the two towers
        "clip": Cost(6 / 4, 6 / 4, 2 * 12.9 / 4),
        "siglip": Cost(4 / 4, 5 / 4, 2 * 12.9 / 4),
    }.get(loss, DEFAULT)


def seconds_by_pipe(cost: Cost, batch: int, dim: int, gpu: Gpu, element_size: int = 2) -> dict[str, float]:
    """Seconds that each pipe takes at full rate."""
    flops = cost.products * 2 * dim * (FLOAT32 if element_size == 4 else 1)
    clocks = {
        "tensor": flops / TENSOR[gpu.capability],
        "MUFU": cost.exponentials / MUFU,
        "issue": cost.instructions / ISSUE,
    }
    per_second = gpu.multiprocessors * gpu.hertz
    seconds = {pipe: batch * batch * count / per_second for pipe, count in clocks.items()}
    return seconds | {"memory": batch * batch * cost.bytes / gpu.bytes_per_second}


# Others treat rows and columns as two operands, so each needs its own gradient product; those that store no matrix
# recompute it for the gradient. Dense: similarities, exponentials, their gradient, in bfloat16.
WAYS = {
    "gravis_kernels": DEFAULT,
    "tiles, two operands (Inf-CL, cut cross-entropy)": Cost(4, 2, 12.9),
    "dense, torch.compile": Cost(3, 2, 12.9, bytes=6 * 2),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--batch", type=int, nargs="+", default=[16380, 131060])
    arguments = parser.parse_args()
    for batch in arguments.batch:
        print(f"{batch:,} views, {arguments.dim} dimensions, bfloat16, ms")
        for name, cost in WAYS.items():
            seconds = seconds_by_pipe(cost, batch, arguments.dim, H200)
            pipes = "".join(f"{pipe:>9} {1e3 * value:6.2f}" for pipe, value in seconds.items())
            print(f"  {name:52}{pipes}    at least {1e3 * max(seconds.values()):6.2f}")


if __name__ == "__main__":
    main()
