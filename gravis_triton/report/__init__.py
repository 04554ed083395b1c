"""What a run says, and what it leaves behind."""

from gravis_triton.report.diagnoses import report_diagnoses
from gravis_triton.report.display import Display
from gravis_triton.report.figures import write_figure
from gravis_triton.report.finetuning import (
    follow_finetuning,
    open_finetuning,
    save_mask_cases,
    say_annotated,
    say_finished,
    say_leaks,
    say_scores,
    write_finetune_summary,
)
from gravis_triton.report.pictures import save_views
from gravis_triton.report.run import Journal, choose_run, open_run
from gravis_triton.report.status import run_recipe
from gravis_triton.report.summary import (
    Summary,
    record_scores,
    say_batch,
    say_data,
    say_skipped,
    say_summary,
    summarize,
    write_summary,
)
from gravis_triton.training.metrics import StepMetrics

__all__ = [
    "Display",
    "Journal",
    "StepMetrics",
    "Summary",
    "choose_run",
    "follow_finetuning",
    "open_finetuning",
    "open_run",
    "record_scores",
    "report_diagnoses",
    "run_recipe",
    "save_mask_cases",
    "save_views",
    "say_annotated",
    "say_batch",
    "say_data",
    "say_finished",
    "say_leaks",
    "say_scores",
    "say_skipped",
    "say_summary",
    "summarize",
    "write_figure",
    "write_finetune_summary",
    "write_summary",
]
