"""Profile the losses and their gradients on a GPU: wall-clock time and time per kernel.

python kernels/benchmarks/kernel_times.py OUT.json
"""

import json
import statistics
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from gravis_kernels import gravis_loss, nt_xent_loss
from measure import describe_machine, kernel_milliseconds, measure_seconds
from torch import Tensor

DEVICE = torch.device("cuda")
VIEWS, DIM = 20, 128
LOSSES: dict[str, Callable[[Tensor], Tensor]] = {
    "default": gravis_loss,
    "nt-xent": nt_xent_loss,
    "hinge": lambda z: gravis_loss(z, penalty="hinge", attention_temperature=0.1),
    "rank": lambda z: gravis_loss(z, attention="rank"),
    "softplus-mean": lambda z: gravis_loss(z, negatives="mean"),
}


def measured(name: str, sources: int, dtype: torch.dtype) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(0)
    centers = torch.randn(sources, 1, DIM, generator=generator)
    embeddings = (centers + torch.randn(sources, VIEWS, DIM, generator=generator)).to(DEVICE, dtype)
    embeddings.requires_grad_()

    def step() -> None:
        embeddings.grad = None
        LOSSES[name](embeddings).backward()

    first = measure_seconds(step, DEVICE)
    wall = [measure_seconds(step, DEVICE) for _ in range(20)][5:]
    return {
        "loss": name, "views": sources * VIEWS, "dtype": str(dtype)[6:], "first": round(first, 2),
        "wall_ms": round(1e3 * statistics.median(wall), 4),
        "kernels_ms": {k: round(ms, 4) for k, ms in kernel_milliseconds(step, DEVICE).items()},
    }  # fmt: skip


def main() -> None:
    rows = []
    for dtype in (torch.bfloat16, torch.float32):
        for name in LOSSES:
            for sources in (16, 819, 6553):
                if dtype == torch.bfloat16 or sources < 1000 or name == "default":
                    rows.append(measured(name, sources, dtype))
                    print(rows[-1], flush=True)
    machine = asdict(describe_machine(DEVICE))
    Path(sys.argv[1]).write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
