"""Environment of a run: device and versions."""

import platform

import kornia
import timm
import torch


def versions() -> dict[str, str]:
    """Versions of Python and the main libraries."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "timm": timm.__version__,
        "kornia": kornia.__version__,
    }


def device_name(device: torch.device) -> str:
    """Name of the training device."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} ({torch.get_num_threads()} threads)"
