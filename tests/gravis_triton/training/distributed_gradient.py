"""Started by torchrun: one process's part of a training step; the first one writes loss and gradient to a file."""

import sys

import torch
from accelerate import Accelerator
from torch import nn

from gravis_triton.losses import Objective
from gravis_triton.settings import LossSettings
from gravis_triton.training import backward

SOURCES, VIEWS, SIZE = 8, 3, 6


def step(accelerator: Accelerator, chunk: int | None) -> dict[str, torch.Tensor]:
    """Loss and parameter gradients of this process's share of one fixed batch."""
    torch.manual_seed(0)
    batch = torch.randn(SOURCES, VIEWS, 3, SIZE, SIZE, dtype=torch.float64)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.GELU(), nn.Flatten(), nn.LayerNorm(64), nn.Linear(64, 8)
    ).double()
    model = accelerator.prepare(model)
    mine = batch.chunk(accelerator.num_processes)[accelerator.process_index]
    value, _ = backward(model, mine, Objective(LossSettings()), accelerator, chunk)
    gradients = {name.removeprefix("module."): p.grad for name, p in model.named_parameters()}
    return {"loss": value, **gradients}


if __name__ == "__main__":
    file, processes, chunk = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]) or None
    accelerator = Accelerator()
    assert accelerator.num_processes == processes, accelerator.num_processes
    result = step(accelerator, chunk)
    if accelerator.is_main_process:
        torch.save(result, file)
    accelerator.wait_for_everyone()
    torch.distributed.destroy_process_group()
