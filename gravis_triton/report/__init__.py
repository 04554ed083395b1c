"""Console output, metrics, figures and pages of runs."""

from gravis_triton.report.classification import write_class_cases, write_class_predictions
from gravis_triton.report.display import Display
from gravis_triton.report.environment import device_name, versions
from gravis_triton.report.figures import caption_of, write_figure
from gravis_triton.report.finetuning import (
    log_validation,
    print_annotated,
    print_empty_masks,
    print_finished,
    print_leaks,
    print_step,
    print_test_scores,
)
from gravis_triton.report.metric_logger import MetricLogger
from gravis_triton.report.pretraining import (
    PretrainSummary,
    log_scores,
    print_batch,
    print_data,
    print_skipped,
    print_summary,
    summarize,
    write_summary,
)
from gravis_triton.report.segmentation import write_mask_cases
from gravis_triton.report.trackers import log_pictures, start_tracker
from gravis_triton.report.view_grid import save_views

__all__ = [
    "Display",
    "MetricLogger",
    "PretrainSummary",
    "caption_of",
    "device_name",
    "log_pictures",
    "log_scores",
    "log_validation",
    "print_annotated",
    "print_batch",
    "print_data",
    "print_empty_masks",
    "print_finished",
    "print_leaks",
    "print_skipped",
    "print_step",
    "print_summary",
    "print_test_scores",
    "save_views",
    "start_tracker",
    "summarize",
    "versions",
    "write_class_cases",
    "write_class_predictions",
    "write_figure",
    "write_mask_cases",
    "write_summary",
]
