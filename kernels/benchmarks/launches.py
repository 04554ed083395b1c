"""Time alternatives to the launches in `gravis_kernels.configs` on a GPU, to tune its launch table.

    python kernels/benchmarks/launches.py OUT.json

Every candidate differs from the table in one number. Candidates take turns, so that all see the same conditions.
One that does not fit shows up as an error, one that spills as slow.
"""

import argparse
import json
import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from gravis_kernels import configs, gravis_loss
from measure import describe_machine, measure_seconds
from torch import Tensor

LOSSES: dict[str, Callable[[Tensor], Tensor]] = {
    "default": lambda z: gravis_loss(z, backend="triton"),
    "hinge": lambda z: gravis_loss(z, penalty="hinge", backend="triton"),
}
VALUES: dict[str, tuple[int, ...]] = {
    "block_rows": (64, 128),
    "block_columns": (64, 128),
    "num_warps": (4, 8),
    "num_stages": (2, 3, 4),
}


def candidates(kept: configs.LaunchConfig) -> list[configs.LaunchConfig]:
    """The launch in the table, then those that differ from it in one number."""
    others = [replace(kept, **{name: value}) for name, values in VALUES.items() for value in values]
    return [kept, *(other for other in others if other != kept)]


@contextmanager
def override_launch(launch: configs.LaunchConfig, key: tuple[str, int, int]) -> Iterator[None]:
    kept = configs.TABLE[key]
    configs.TABLE[key] = launch
    try:
        yield
    finally:
        configs.TABLE[key] = kept


def times(loss: str, embeddings: Tensor, rounds: int) -> list[dict[str, Any]]:
    """A row per launch: its numbers, median milliseconds and the ratio to the table's launch; or its error."""
    architecture = configs.machine(embeddings.device).architecture
    kept = configs.launch_config(architecture, embeddings.shape[-1], embeddings.element_size())
    key = next(key for key, launch in configs.TABLE.items() if key[0] == architecture and launch is kept)
    leaf = embeddings.detach().requires_grad_()
    seconds: dict[configs.LaunchConfig, list[float]] = {launch: [] for launch in candidates(kept)}
    errors: dict[configs.LaunchConfig, str] = {}
    for turn in range(1 + rounds):  # the first round compiles
        for launch in seconds:
            if launch in errors:
                continue
            with override_launch(launch, key):
                try:
                    taken = measure_seconds(lambda: LOSSES[loss](leaf).backward(), leaf.device)
                except Exception as error:  # out of shared memory, or any compiler error
                    errors[launch] = f"{type(error).__name__}: {error}"[:200]
                    continue
            if turn:
                seconds[launch].append(taken)
    base = statistics.median(seconds[kept])
    rows = []
    for launch, measured in seconds.items():
        about: dict[str, Any] = {"loss": loss, "views": embeddings.shape[:2].numel(), **asdict(launch)}
        if launch in errors:
            rows.append(about | {"error": errors[launch]})
        else:
            median = statistics.median(measured)
            rows.append(about | {"ms": round(1e3 * median, 4), "ratio": round(median / base, 3)})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--sources", type=int, nargs="+", default=[819, 6553])
    parser.add_argument("--views", type=int, default=20)
    parser.add_argument("--dim", type=int, nargs="+", default=[128, 256])
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    rows = []
    for loss in LOSSES:
        for sources in options.sources:
            for dim in options.dim:
                embeddings = torch.randn(sources, options.views, dim, device="cuda", dtype=torch.bfloat16)
                for row in times(loss, embeddings, options.rounds):
                    rows.append({"dim": dim, **row})
                    print(rows[-1], flush=True)
    machine = asdict(describe_machine(torch.device("cuda")))
    options.out.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
