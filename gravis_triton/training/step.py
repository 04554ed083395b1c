"""Gradient of one batch, encoded at once or in chunks."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

Objective = Callable[[Tensor], Tensor]


def backward(
    model: nn.Module, views: Tensor, objective: Objective, accelerator: Accelerator, chunk: int | None = None
) -> tuple[Tensor, Tensor]:
    """Accumulate the gradient of objective(model(views)) over all processes into the model's parameters.

    views: (images, views, 3, height, width) of this process; the objective sees (images, views, dim).
    chunk: encode at most this many views at a time, None for all at once (GradCache, Gao et al., 2021, arXiv
    2101.06983): first without a graph, to get the gradient of the loss w.r.t. each embedding, then again, chunk by
    chunk, to backpropagate it. This needs the memory of one chunk and an extra forward pass; the gradient is the same,
    except that BatchNorm computes its statistics per chunk instead of per batch.

    Returns the loss of the whole batch and this process's embeddings, both detached.
    """
    flat = views.flatten(0, 1)
    # DistributedDataParallel averages gradients over processes, but each has only a share of the global loss's gradient
    scale = accelerator.num_processes
    if chunk is None or chunk >= len(flat):
        embeddings = model(flat)
        loss = objective(embeddings.unflatten(0, views.shape[:2]))
        accelerator.backward(loss * scale)
        return loss.detach(), embeddings.detach().unflatten(0, views.shape[:2])

    # of nearly equal size: a small last chunk would have poor BatchNorm statistics
    chunks = flat.tensor_split(math.ceil(len(flat) / chunk))
    random_states = []
    with torch.no_grad(), _kept_batch_statistics(model):
        encoded = []
        for part in chunks:
            random_states.append(_random_state(flat.device))
            encoded.append(model(part))
    embeddings = torch.cat(encoded).requires_grad_()
    loss = objective(embeddings.unflatten(0, views.shape[:2]))
    accelerator.backward(loss * scale)
    assert embeddings.grad is not None
    for i, (part, gradient) in enumerate(zip(chunks, embeddings.grad.tensor_split(len(chunks)), strict=True)):
        last = i == len(chunks) - 1
        with nullcontext() if last else accelerator.no_sync(model):
            _set_random_state(flat.device, random_states[i])
            model(part).backward(gradient)
    return loss.detach(), embeddings.detach().unflatten(0, views.shape[:2])


@contextmanager
def _kept_batch_statistics(model: nn.Module) -> Iterator[None]:
    """Freeze BatchNorm's running statistics, so that encoding twice counts once."""
    layers = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.momentum = 0.0
    try:
        yield
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum


def _random_state(device: torch.device) -> list[Tensor]:
    states = [torch.get_rng_state()]
    return states if device.type == "cpu" else [*states, torch.get_device_module(device).get_rng_state()]


def _set_random_state(device: torch.device, states: list[Tensor]) -> None:
    torch.set_rng_state(states[0])
    if device.type != "cpu":
        torch.get_device_module(device).set_rng_state(states[1])
