"""Time every launch of the table in `gravis_kernels.configs` for this GPU, pass by pass, beside other launches.

    python kernels/benchmarks/launches.py OUT.json

Launches of a pass take turns, so that all see the same conditions; the time is that of the kernel alone, from the
profiler. A launch that does not fit shows up as an error, one that spills as slow. The fastest belongs in the table.
"""

import argparse
import json
import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path
from typing import Any, get_args

import torch
from gravis_kernels import configs, gravis_loss
from measure import describe_machine, kernel_milliseconds
from torch import Tensor

LOSSES: dict[configs.Kernel, Callable[[Tensor], Tensor]] = {
    "sums": lambda z: gravis_loss(z, backend="triton"),
    "gradient": lambda z: gravis_loss(z, backend="triton"),
    "sweep": lambda z: gravis_loss(z, penalty="hinge", backend="triton"),
}
FUNCTIONS: dict[configs.Kernel, str] = {"sums": "sum_exp", "gradient": "grad_logsumexp", "sweep": "sweep"}
VALUES: dict[str, tuple[int, ...]] = {
    "block_rows": (64, 128),
    "block_columns": (64, 128),
    "num_warps": (4, 8),
    "num_stages": (2, 3),
}


def candidates(kept: configs.LaunchConfig) -> list[configs.LaunchConfig]:
    """The launch in the table, then all others with the values above."""
    others = [replace(kept, **dict(zip(VALUES, values, strict=True))) for values in product(*VALUES.values())]
    return [kept, *(other for other in others if other != kept)]


@contextmanager
def override_launch(launch: configs.LaunchConfig, key: tuple[configs.Kernel, str, int, int]) -> Iterator[None]:
    kept = configs.TABLE[key]
    configs.TABLE[key] = launch
    try:
        yield
    finally:
        configs.TABLE[key] = kept


def times(
    key: tuple[configs.Kernel, str, int, int],
    embeddings: Tensor,
    rounds: int,
    milliseconds: Callable[[Callable[[], object], str], float],
) -> list[dict[str, Any]]:
    """A row per launch: its numbers, median milliseconds and the ratio to the table's launch; or its error."""
    kernel, kept = key[0], configs.TABLE[key]
    leaf = embeddings.detach().requires_grad_()
    found: dict[configs.LaunchConfig, list[float]] = {launch: [] for launch in candidates(kept)}
    errors: dict[configs.LaunchConfig, str] = {}
    for turn in range(1 + rounds):  # the first round compiles
        for launch in found:
            if launch in errors:
                continue
            with override_launch(launch, key):
                try:
                    taken = milliseconds(lambda: LOSSES[kernel](leaf).backward(), FUNCTIONS[kernel])
                except Exception as error:  # out of shared memory, or any compiler error
                    errors[launch] = f"{type(error).__name__}: {error}"[:200]
                    continue
            if turn:
                found[launch].append(taken)
    base = statistics.median(found[kept])
    rows = []
    for launch, taken in found.items():
        about: dict[str, Any] = {"kernel": kernel, "dtype": str(embeddings.dtype)[6:]}
        about |= {"shape": list(embeddings.shape), **asdict(launch)}
        if launch in errors:
            rows.append(about | {"error": errors[launch]})
        else:
            median = statistics.median(taken)
            rows.append(about | {"ms": round(median, 4), "ratio": round(median / base, 3)})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--kernels", nargs="+", choices=get_args(configs.Kernel), default=list(LOSSES))
    parser.add_argument("--sources", type=int, default=6553)
    parser.add_argument("--views", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    device = torch.device("cuda")
    rows: list[dict[str, Any]] = []
    for key in list(configs.TABLE):
        kernel, architecture, element_size, dim = key
        if architecture != configs.machine(device).architecture or kernel not in options.kernels:
            continue
        dtype = torch.float32 if element_size == 4 else torch.bfloat16
        # float32 takes 20 times as long
        sources = options.sources // (8 if element_size == 4 else 1)
        embeddings = torch.randn(sources, options.views, dim, device=device, dtype=dtype)
        rows += times(
            key,
            embeddings,
            options.rounds,
            lambda step, name: kernel_milliseconds(step, device, repeats=1)[name],
        )
        print(*rows[-len(candidates(configs.TABLE[key])) :], sep="\n", flush=True)
        content = {"machine": asdict(describe_machine(device)), "rows": rows}
        options.out.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
