"""Summary of a finished run, as worded on pages and in lists."""

from collections.abc import Mapping
from typing import Any

from gravis_triton.errors import UserError
from gravis_triton.files import read_json
from gravis_triton.run_directory import RunDirectory
from gravis_triton.settings import read_yaml


def read_run(run: RunDirectory) -> tuple[dict[str, Any], dict[str, Any]]:
    """(settings, summary) of a finished run. Raises UserError for a directory without one."""
    if not (run.config.is_file() and run.summary.is_file()):
        raise UserError(f"{run} contains no finished run (config.yaml and summary.json)")
    return read_yaml(run.config), read_json(run.summary)


def kind_of(config: Mapping[str, Any]) -> str:
    """Which job wrote a config: pre-training, classification, segmentation or evaluation."""
    if "views" in config or "command" in config:
        return "pre-training"
    if "class_loss" in config:
        return "classification"
    return "segmentation" if "decoder" in config else "evaluation"


def result_of(summary: Mapping[str, Any]) -> str:
    """The main scores of a run in one sentence."""
    if "knn_mean_auc_untrained" in summary:
        if summary["knn_mean_auc"] is None:
            return f"Loss {shown_number(summary['loss'])} after {summary['steps']:,} steps."
        before, after = (shown_number(summary[name]) for name in ("knn_mean_auc_untrained", "knn_mean_auc"))
        return f"kNN mean AUC on the validation images: {before} untrained, {after} pre-trained."
    if "images" in summary:
        return f"Pre-trained on {summary['images']:,} images by a command."
    names = [name for name in ("knn_mean_auc", "probe_mean_auc", "mean_auc", "jaccard") if name in summary]
    return (
        "; ".join(f"{shown(name)} {shown_number(summary[name])}" for name in names) + " on the test images."
    )


def shown(name: str) -> str:
    """Display name of a score or a task."""
    return name.replace("_", " ").replace("auc", "AUC").replace("knn", "kNN")


def shown_number(value: Any, digits: int = 3) -> str:
    """Format a value of a summary; floats with `digits` decimals."""
    if value is None:
        return "unknown"
    if isinstance(value, float):
        return f"{value:.{digits}f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
