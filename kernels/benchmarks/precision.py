"""Gradient error of the default loss with bfloat16 or tf32 products, on given embeddings.

    python kernels/benchmarks/precision.py EMBEDDINGS.npy    # (batches, sources, views, dim), not normalized

prints the relative error against float64, median over batches, of the Triton backend (in the interpreter if there is
no GPU) in float32 and under bfloat16 autocast, and of dense PyTorch with bfloat16 products.
"""

import argparse
import os
import statistics
from collections.abc import Callable

import torch

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"

import numpy as np
from gravis_kernels import gravis_loss
from torch import Tensor
from torch.nn.functional import normalize


def gradient(loss: Callable[[Tensor], Tensor], embeddings: Tensor) -> Tensor:
    leaf = embeddings.clone().requires_grad_()
    loss(leaf).backward()
    assert leaf.grad is not None
    return leaf.grad.double()


def under_autocast(embeddings: Tensor) -> Tensor:
    with torch.autocast(embeddings.device.type, dtype=torch.bfloat16):
        return gravis_loss(embeddings, backend="triton")


def with_rounded_rows(embeddings: Tensor) -> Tensor:
    """Like dense PyTorch in bfloat16, but with everything except the products' operands in float32."""
    rows = normalize(embeddings, dim=2).bfloat16().float()
    return gravis_loss(rows, backend="reference", normalize=False)


WAYS: dict[str, Callable[[Tensor], Tensor]] = {
    "triton, float32": lambda z: gravis_loss(z, backend="triton"),
    "triton, bfloat16 autocast": under_autocast,
    "dense, rows rounded to bfloat16": with_rounded_rows,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("embeddings", help=".npy file")
    arguments = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    batches = torch.from_numpy(np.load(arguments.embeddings)).float().to(device)
    exact = [gradient(lambda z: gravis_loss(z, backend="streaming"), z.double()) for z in batches]
    for name, loss in WAYS.items():
        errors = [float((gradient(loss, z) - g).norm() / g.norm()) for z, g in zip(batches, exact, strict=True)]
        print(f"{name:34}{statistics.median(errors):9.2g}  ({min(errors):.2g} to {max(errors):.2g})")


if __name__ == "__main__":
    main()
