"""How the kernels are launched: tile shapes by architecture, width and precision, never by batch size."""

from dataclasses import dataclass
from functools import cache

import torch

LARGEST_DIM = 1024
LARGEST_VIEWS = 64


@dataclass(frozen=True, slots=True)
class Launch:
    """block_rows x block_columns similarities a tile; block_dim gradient dimensions a program."""

    block_rows: int
    block_columns: int
    block_dim: int
    num_warps: int


@dataclass(frozen=True, slots=True)
class Machine:
    """architecture: "sm80", "sm90", "sm100", "gfx942" or "interpreter"; processors: what a launch should fill."""

    architecture: str
    processors: int

    @property
    def precision(self) -> str:
        """Of products of float32: three tf32 products lose nothing that counts; AMD multiplies float32 itself."""
        return "tf32x3" if self.architecture.startswith("sm") else "ieee"

    @property
    def upcast(self) -> bool:
        """The interpreter cannot multiply bfloat16."""
        return self.architecture == "interpreter"


def launch(architecture: str, dim: int, element_size: int) -> Launch:
    """The measured best, by instructions of the inner loops and by what fits without spills.

    architecture: as in `Machine`. element_size: bytes of an element of the embeddings, 2 or 4.
    """
    width = 64 if dim <= 64 else 128 if dim <= 128 else 256
    return TABLE[architecture, element_size, width]


TABLE: dict[tuple[str, int, int], Launch] = {
    ("sm80", 2, 64): Launch(64, 128, 64, 4),
    ("sm80", 2, 128): Launch(64, 128, 128, 4),
    ("sm80", 2, 256): Launch(64, 64, 256, 8),
    ("sm80", 4, 64): Launch(64, 64, 64, 4),
    ("sm80", 4, 128): Launch(64, 64, 128, 8),
    ("sm80", 4, 256): Launch(64, 64, 256, 8),
    ("sm90", 2, 64): Launch(64, 128, 64, 4),
    ("sm90", 2, 128): Launch(64, 128, 128, 4),
    ("sm90", 2, 256): Launch(64, 64, 256, 8),
    ("sm90", 4, 64): Launch(64, 64, 64, 4),
    ("sm90", 4, 128): Launch(64, 64, 128, 8),
    ("sm90", 4, 256): Launch(64, 64, 256, 8),
    ("sm100", 2, 64): Launch(64, 128, 64, 4),
    ("sm100", 2, 128): Launch(64, 128, 128, 4),
    ("sm100", 2, 256): Launch(64, 64, 256, 8),
    ("sm100", 4, 64): Launch(64, 64, 64, 4),
    ("sm100", 4, 128): Launch(64, 64, 128, 8),
    ("sm100", 4, 256): Launch(64, 64, 256, 8),
    ("gfx942", 2, 64): Launch(64, 64, 64, 4),
    ("gfx942", 2, 128): Launch(64, 64, 128, 4),
    ("gfx942", 2, 256): Launch(64, 64, 256, 8),
    ("gfx942", 4, 64): Launch(64, 64, 64, 4),
    ("gfx942", 4, 128): Launch(64, 64, 128, 4),
    ("gfx942", 4, 256): Launch(64, 64, 256, 8),
    ("interpreter", 2, 64): Launch(64, 64, 64, 4),
    ("interpreter", 2, 128): Launch(64, 64, 128, 4),
    ("interpreter", 2, 256): Launch(64, 64, 128, 4),
    ("interpreter", 4, 64): Launch(64, 64, 64, 4),
    ("interpreter", 4, 128): Launch(64, 64, 128, 4),
    ("interpreter", 4, 256): Launch(64, 64, 128, 4),
}


def machine(device: torch.device) -> Machine:
    """What a device is to the kernels.

    RuntimeError: no GPU and no interpreter, or a GPU older than Ampere (NVIDIA) or CDNA3 (AMD).
    """
    if device.type == "cpu":
        return Machine("interpreter", 4)
    return _gpu(torch.cuda.current_device() if device.index is None else device.index)


@cache
def _gpu(index: int) -> Machine:
    properties = torch.cuda.get_device_properties(index)
    if torch.version.hip:
        name = properties.gcnArchName.split(":")[0]
        architecture = "gfx942" if name.startswith("gfx9") else name
    else:
        major = properties.major
        architecture = "sm100" if major >= 10 else f"sm{major}0"
    if (architecture, 2, 128) not in TABLE:
        raise RuntimeError(
            f'backend "triton" has no launch table for {properties.name} ({architecture}): use "streaming"'
        )
    return Machine(architecture, properties.multi_processor_count)
