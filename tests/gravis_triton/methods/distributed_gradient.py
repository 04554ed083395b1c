"""One process's part of a training step; the first one writes loss and gradient to a file."""

import sys

import torch
from accelerate import Accelerator
from small_methods import small_method
from torch import nn

IMAGES, VIEWS, SIZE = 8, 3, 6


def step(accelerator: Accelerator, chunk: int | None) -> dict[str, torch.Tensor]:
    """Loss and parameter gradients of this process's share of one fixed batch."""
    torch.manual_seed(0)
    batch = torch.randn(IMAGES, VIEWS, 3, SIZE, SIZE, dtype=torch.float64)
    encoder = nn.Sequential(nn.Conv2d(3, 4, 3), nn.GELU(), nn.Flatten(), nn.LayerNorm(64))
    model = accelerator.prepare(small_method(encoder, 64, chunk).double())
    mine = batch.chunk(accelerator.num_processes)[accelerator.process_index]
    loss, _ = model(mine, None, 0)
    accelerator.backward(loss)
    gradients = {name.removeprefix("module."): p.grad for name, p in model.named_parameters()}
    return {"loss": loss.detach(), **gradients}


if __name__ == "__main__":
    file, processes, chunk = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]) or None
    accelerator = Accelerator()
    assert accelerator.num_processes == processes, accelerator.num_processes
    result = step(accelerator, chunk)
    if accelerator.is_main_process:
        torch.save(result, file)
    accelerator.wait_for_everyone()
    accelerator.end_training()
