"""Memory of a pre-training step, and its speed in bfloat16, measured without a GPU: `python docs/hardware.py`.

Bytes that the backward pass needs are counted as autograd saves them, per view, in bfloat16; weights, gradients and
the two moments of AdamW are float32.
"""

import time
from statistics import median

import torch

from gravis_triton.models import build_encoder

SIZES = (  # model, pixels, images x views of a step
    ("resnet18", 64, 24 * 4),
    ("tf_efficientnet_lite0", 96, 24 * 8),
    ("resnet50", 224, 16 * 20),
    ("convnext_tiny", 224, 32 * 8),
    ("vit_small_patch16_224", 224, 32 * 8),
)

TIMED = (
    "resnet18",
    "resnet50",
    "vit_small_patch16_224",
    "convnext_atto",
    "efficientnet_lite0",
    "mobilenetv3_small_100",
)


def saved_bytes(encoder: torch.nn.Module, size: int, views: int) -> int:
    """Bytes of distinct tensors that the forward pass keeps for the backward pass."""
    saved: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        saved[storage.data_ptr()] = storage  # keeps it alive, and its address its own
        return tensor

    images = torch.rand(views, 3, size, size).contiguous(memory_format=torch.channels_last)
    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16),
    ):
        encoder(images)
    return sum(storage.nbytes() for storage in saved.values())


def seconds(encoder: torch.nn.Module, images: torch.Tensor, bfloat16: bool) -> float:
    """Processor time of a forward and a backward pass."""
    start = time.process_time()
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        output = encoder(images)
    output.float().square().mean().backward()
    return time.process_time() - start


def bfloat16_speed(model: str, *, size: int = 64, views: int = 48, rounds: int = 9) -> float:
    """Views per second in bfloat16 as a multiple of those in float32: the median over pairs of steps."""
    encoder = build_encoder(model, image_size=size).train().to(memory_format=torch.channels_last)
    images = torch.rand(views, 3, size, size).contiguous(memory_format=torch.channels_last)
    pairs = [(seconds(encoder, images, False), seconds(encoder, images, True)) for _ in range(rounds)]
    return median(full / half for full, half in pairs[2:])  # the first ones warm up


if __name__ == "__main__":
    for model, size, views in SIZES:
        encoder = build_encoder(model, image_size=size).train().to(memory_format=torch.channels_last)
        parameters = sum(parameter.numel() for parameter in encoder.parameters())
        per_view = (saved_bytes(encoder, size, 4) - saved_bytes(encoder, size, 2)) / 2
        total = 16 * parameters + views * per_view
        print(
            f"| `{model}`, {size} px | {parameters / 1e6:.1f} | {per_view / 2**20:.1f} | {views} "
            f"| {total / 2**30:.1f} | {(16 * parameters + 64 * per_view) / 2**30:.1f} |",
            flush=True,
        )
    torch.set_num_threads(1)
    for model in TIMED:
        print(f"| `{model}` | {bfloat16_speed(model):.2f} |", flush=True)
