"""Self-supervised pre-training on dermatology images with GraVIS (arXiv 2301.04410), fine-tuning and evaluation.

    import gravis_triton as gt

    run = gt.pretrain(data="DIR", model="resnet50", output_dir="runs/mine")
    gt.finetune_classification(data="DIR", encoder=str(run.encoder), label_fraction=0.05)

Keyword arguments of a job are its settings, as on the command line. torch is imported by the first call.
"""

from importlib import import_module
from typing import Any

from gravis_triton.errors import Interrupted, UserError

__version__ = "0.3.0"

_JOBS = (
    "pretrain", "finetune_classification", "finetune_segmentation", "evaluate", "embed", "predict",
    "export", "compare", "check", "shards",
    "push", "write_report", "list_runs", "list_cache",
)  # fmt: skip
__all__ = ["Interrupted", "UserError", "__version__", "load", *_JOBS]


def __getattr__(name: str) -> Any:
    if name in _JOBS:
        return import_module("gravis_triton.api").job_function(name)
    if name == "load":
        return import_module("gravis_triton.inference.saved_model").load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
