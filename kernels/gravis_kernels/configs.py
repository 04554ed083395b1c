"""Launch configurations of the kernels, by kernel, architecture, dimension and precision, never by batch size."""

from dataclasses import dataclass
from functools import cache
from typing import Literal

import torch

# "sums": sums of exponentials; "gradient": gradient of log-sum-exp and two-tower losses; "sweep": negatives "mean"
Kernel = Literal["sums", "gradient", "sweep"]

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
    def tma(self) -> bool:
        """Whether the GPU loads tiles by descriptor."""
        return self.architecture in ("sm90", "sm100", "interpreter")

    @property
    def upcast(self) -> bool:
        """Whether products are rounded once, from float64."""
        return self.architecture == "interpreter"


def launch_config(kernel: Kernel, architecture: str, dim: int, element_size: int) -> LaunchConfig:
    """The launch of a kernel on a `Machine.architecture`; element_size: bytes per embedding element, 2 or 4."""
    return TABLE[kernel, architecture, element_size, 128 if dim <= 128 or element_size == 4 else 256]


# Chosen among launches that compile without spills: by measurements where README.md has them, else by the bounds of
# bounds.py and by instruction counts. Hopper: taller tiles in "sums" halve its L2 traffic; the gradient's accumulator
# leaves no registers for them. float32 products are three tf32 products, whose operands fill the registers unless
# block_inner is small.
TABLE: dict[tuple[Kernel, str, int, int], LaunchConfig] = {
    ("sums", "sm80", 2, 128): LaunchConfig(128, 64, 128, 128, 4, 2),
    ("sums", "sm80", 2, 256): LaunchConfig(64, 64, 256, 256, 4, 2),
    ("sums", "sm80", 4, 128): LaunchConfig(64, 64, 128, 16, 4, 2),
    ("sums", "sm90", 2, 128): LaunchConfig(128, 64, 128, 128, 4, 3),
    ("sums", "sm90", 2, 256): LaunchConfig(64, 64, 256, 256, 4, 2),
    ("sums", "sm90", 4, 128): LaunchConfig(64, 64, 128, 16, 4, 2),
    ("sums", "sm100", 2, 128): LaunchConfig(64, 128, 128, 128, 4, 3),
    ("sums", "sm100", 2, 256): LaunchConfig(64, 128, 256, 256, 8, 2),
    ("sums", "sm100", 4, 128): LaunchConfig(64, 64, 128, 32, 4, 2),
    ("sums", "gfx942", 2, 128): LaunchConfig(64, 64, 128, 128, 4, 1),
    ("sums", "gfx942", 2, 256): LaunchConfig(64, 64, 256, 64, 4, 1),
    ("sums", "gfx942", 4, 128): LaunchConfig(64, 64, 128, 16, 4, 1),
    ("sums", "interpreter", 2, 128): LaunchConfig(64, 128, 128, 128, 4, 1),
    ("sums", "interpreter", 2, 256): LaunchConfig(64, 128, 128, 128, 4, 1),
    ("sums", "interpreter", 4, 128): LaunchConfig(64, 128, 128, 128, 4, 1),
    ("gradient", "sm80", 2, 128): LaunchConfig(64, 64, 128, 128, 4, 2),
    ("gradient", "sm80", 2, 256): LaunchConfig(64, 64, 256, 256, 8, 2),
    ("gradient", "sm80", 4, 128): LaunchConfig(64, 32, 128, 16, 8, 2),
    ("gradient", "sm90", 2, 128): LaunchConfig(64, 128, 128, 128, 4, 3),
    ("gradient", "sm90", 2, 256): LaunchConfig(64, 128, 256, 256, 8, 2),
    ("gradient", "sm90", 4, 128): LaunchConfig(64, 32, 128, 16, 4, 2),
    ("gradient", "sm100", 2, 128): LaunchConfig(128, 64, 128, 128, 4, 2),
    ("gradient", "sm100", 2, 256): LaunchConfig(128, 64, 256, 256, 8, 2),
    ("gradient", "sm100", 4, 128): LaunchConfig(64, 32, 128, 16, 4, 2),
    ("gradient", "gfx942", 2, 128): LaunchConfig(64, 64, 128, 128, 4, 1),
    ("gradient", "gfx942", 2, 256): LaunchConfig(64, 64, 256, 64, 8, 1),
    ("gradient", "gfx942", 4, 128): LaunchConfig(64, 64, 128, 16, 4, 1),
    ("gradient", "interpreter", 2, 128): LaunchConfig(64, 128, 128, 128, 4, 1),
    ("gradient", "interpreter", 2, 256): LaunchConfig(64, 128, 256, 128, 4, 1),
    ("gradient", "interpreter", 4, 128): LaunchConfig(64, 128, 256, 128, 4, 1),
    ("sweep", "sm80", 2, 128): LaunchConfig(64, 64, 128, 128, 4, 2),
    ("sweep", "sm80", 2, 256): LaunchConfig(64, 64, 256, 256, 8, 2),
    ("sweep", "sm80", 4, 128): LaunchConfig(64, 32, 128, 16, 8, 2),
    ("sweep", "sm90", 2, 128): LaunchConfig(64, 128, 128, 128, 4, 2),
    ("sweep", "sm90", 2, 256): LaunchConfig(64, 128, 256, 256, 8, 2),
    ("sweep", "sm90", 4, 128): LaunchConfig(64, 32, 128, 16, 4, 2),
    ("sweep", "sm100", 2, 128): LaunchConfig(128, 32, 128, 128, 4, 2),
    ("sweep", "sm100", 2, 256): LaunchConfig(128, 64, 256, 256, 8, 2),
    ("sweep", "sm100", 4, 128): LaunchConfig(64, 32, 128, 16, 4, 2),
    ("sweep", "gfx942", 2, 128): LaunchConfig(64, 64, 128, 128, 4, 1),
    ("sweep", "gfx942", 2, 256): LaunchConfig(64, 64, 256, 64, 8, 1),
    ("sweep", "gfx942", 4, 128): LaunchConfig(64, 64, 128, 16, 4, 1),
    ("sweep", "interpreter", 2, 128): LaunchConfig(64, 128, 128, 128, 4, 1),
    ("sweep", "interpreter", 2, 256): LaunchConfig(64, 128, 256, 128, 4, 1),
    ("sweep", "interpreter", 4, 128): LaunchConfig(64, 128, 256, 128, 4, 1),
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
        # GeForce Blackwell (12) has neither the products nor the shared memory of sm100
        architecture = {11: "sm100", 12: "sm80"}.get(properties.major, f"sm{properties.major}0")
    if ("sums", architecture, 2, 128) not in TABLE:
        raise RuntimeError(
            f'backend "triton" does not support {properties.name} ({architecture}): use backend "streaming"'
        )
    return Machine(architecture, properties.multi_processor_count)
