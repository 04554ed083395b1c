"""Launch configurations of the kernels, by architecture, dimension and precision, never by batch size."""

from dataclasses import dataclass
from functools import cache

import torch

LARGEST_DIM = 1024
LARGEST_VIEWS = 64


@dataclass(frozen=True, slots=True)
class LaunchConfig:
    """A tile has block_rows x block_columns similarities, computed block_inner dimensions at a time; a program
    computes block_dim dimensions of the gradient; num_stages - 1 tiles of columns are prefetched."""

    block_rows: int
    block_columns: int
    block_dim: int
    block_inner: int
    num_warps: int
    num_stages: int


@dataclass(frozen=True, slots=True)
class Machine:
    """architecture: "sm80", "sm90", "sm100", "gfx942" or "interpreter"; processors: multiprocessors to fill."""

    architecture: str
    processors: int

    @property
    def precision(self) -> str:
        """Precision of float32 products: three tf32 products are accurate enough; AMD multiplies float32 directly."""
        return "tf32x3" if self.architecture.startswith("sm") else "ieee"

    @property
    def upcast(self) -> bool:
        """Whether products are rounded once, from float64."""
        return self.architecture == "interpreter"


def launch_config(architecture: str, dim: int, element_size: int) -> LaunchConfig:
    """The launch configuration of a `Machine.architecture`; element_size: bytes per embedding element, 2 or 4."""
    return TABLE[architecture, element_size, 128 if dim <= 128 or element_size == 4 else 256]


# Chosen by inner-loop instruction counts among configurations that compile without spills (kernels/README.md).
# float32 products are three tf32 products, whose operands fill the registers unless block_inner is small.
TABLE: dict[tuple[str, int, int], LaunchConfig] = {
    ("sm80", 2, 128): LaunchConfig(64, 64, 128, 128, 4, 2),
    ("sm80", 2, 256): LaunchConfig(64, 64, 256, 256, 8, 2),
    ("sm80", 4, 128): LaunchConfig(64, 32, 128, 16, 8, 2),
    ("sm90", 2, 128): LaunchConfig(64, 128, 128, 128, 4, 2),
    ("sm90", 2, 256): LaunchConfig(64, 128, 256, 256, 8, 2),
    ("sm90", 4, 128): LaunchConfig(64, 32, 128, 16, 4, 2),
    ("sm100", 2, 128): LaunchConfig(64, 64, 128, 128, 4, 2),
    ("sm100", 2, 256): LaunchConfig(64, 64, 256, 256, 8, 2),
    ("sm100", 4, 128): LaunchConfig(64, 32, 128, 16, 4, 2),
    ("gfx942", 2, 128): LaunchConfig(64, 64, 128, 128, 4, 1),
    ("gfx942", 2, 256): LaunchConfig(64, 64, 256, 64, 8, 1),
    ("gfx942", 4, 128): LaunchConfig(64, 64, 128, 16, 4, 1),
    ("interpreter", 2, 128): LaunchConfig(64, 128, 128, 128, 4, 1),
    ("interpreter", 2, 256): LaunchConfig(64, 128, 256, 128, 4, 1),
    ("interpreter", 4, 128): LaunchConfig(64, 128, 256, 128, 4, 1),
}


def machine(device: torch.device) -> Machine:
    """The `Machine` of a device.

    RuntimeError: neither a GPU nor the interpreter, or a GPU older than Ampere (NVIDIA) or CDNA3 (AMD).
    """
    if device.type == "cpu":
        return Machine("interpreter", 4)
    return _gpu(torch.cuda.current_device() if device.index is None else device.index)


@cache
def _gpu(index: int) -> Machine:
    properties = torch.cuda.get_device_properties(index)
    if torch.version.hip:
        name = properties.gcnArchName.split(":")[0]
        architecture = "gfx942" if name.startswith(("gfx94", "gfx95")) else name
    else:
        major = properties.major
        architecture = "sm100" if major >= 10 else f"sm{major}0"
    if (architecture, 2, 128) not in TABLE:
        raise RuntimeError(
            f'backend "triton" does not support {properties.name} ({architecture}): use backend "streaming"'
        )
    return Machine(architecture, properties.multi_processor_count)
