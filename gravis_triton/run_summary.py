"""Summary of a finished run, as worded on pages and in lists."""

from collections.abc import Mapping
from typing import Any

from gravis_triton.errors import UserError
from gravis_triton.files import read_json
from gravis_triton.run_directory import RunDirectory
from gravis_triton.settings.config import read_yaml
from gravis_triton.settings.defaults import complete_as_saved
from gravis_triton.settings.fields import settings_of
from gravis_triton.settings.jobs import ClassificationSettings, EvaluateSettings, PretrainSettings, SegmentationSettings
from gravis_triton.settings.resolve import resolve

_SETTINGS: Mapping[str, type[Any]] = {
    kind.job: kind for kind in (PretrainSettings, ClassificationSettings, SegmentationSettings, EvaluateSettings)
}


def read_run(run: RunDirectory) -> tuple[dict[str, Any], dict[str, Any]]:
    """(settings, summary) of a finished run. Raises UserError for a directory without one."""
    if not (run.config.is_file() and run.summary.is_file()):
        raise UserError(f"{run} contains no finished run (config.yaml and summary.json)")
    return read_yaml(run.config), read_json(run.summary)


def job_of(config: Mapping[str, Any]) -> str | None:
    """The job that wrote a config.yaml, or None if none did. Versions before 0.3 did not write its name."""
    if not {"seed", "output_dir"} <= config.keys():
        return None
    if "job" in config:
        return str(config["job"])
    own = {"views": "pretrain", "class_loss": "finetune-classification", "decoder": "finetune-segmentation"}
    return next((job for name, job in own.items() if name in config), "evaluate")


def changed_from_defaults(config: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Setting -> (value, default) for the settings of a config.yaml that would have another value if left out.

    The settings of a method are not among them, see `method_settings`.
    """
    kind = _SETTINGS[str(job_of(config))]
    settings = settings_of(kind)
    values = {name: value for name, value in config.items() if name in settings}
    changed = {}
    for name, value in values.items():
        others = {other: given for other, given in values.items() if other != name}
        try:
            default = getattr(complete_as_saved(resolve(kind, others, where="config.yaml"), values), name)
        except UserError:  # another setting needs this one
            default = settings[name].default
        if value != default:
            changed[name] = value, default
    return changed


def method_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of the self-supervised method in a config.yaml; empty for other jobs than pre-training."""
    if job_of(config) != "pretrain":
        return {}
    shared = {"job", *settings_of(PretrainSettings)}
    return {name: value for name, value in config.items() if name not in shared}


def result_of(summary: Mapping[str, Any]) -> str:
    """The main scores of a run in one sentence."""
    if "knn_mean_auc_untrained" in summary:
        if summary["knn_mean_auc"] is None:
            return f"Loss {shown_number(summary['loss'])} after {summary['steps']:,} steps."
        before, after = (shown_number(summary[name]) for name in ("knn_mean_auc_untrained", "knn_mean_auc"))
        return f"kNN mean AUC on the validation images: {before} untrained, {after} pre-trained."
    names = [name for name in ("knn_mean_auc", "probe_mean_auc", "mean_auc", "jaccard") if name in summary]
    return "; ".join(f"{shown(name)} {shown_number(summary[name])}" for name in names) + " on the test images."


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
