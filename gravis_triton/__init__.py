"""Self-supervised pre-training on dermatology images by GraVIS (arXiv 2301.04410), and what it is for."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gravis_triton.prediction import load as load

__version__ = "0.1.0"
__all__ = ["__version__", "load"]


def __getattr__(name: str) -> Any:
    """`load` is imported when asked for: processes that only decode images start faster without torch."""
    if name == "load":
        from gravis_triton.prediction import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
