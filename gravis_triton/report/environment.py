"""What the numbers of a run depend on: processor and versions."""

import platform

import kornia
import timm
import torch


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that compute."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "timm": timm.__version__,
        "kornia": kornia.__version__,
    }


def device_name(device: torch.device) -> str:
    """The name of the processor that trains."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} ({torch.get_num_threads()} threads)"
