"""Comparison of encoders: a grid of runs, their scores, and confidence intervals of differences."""

from gravis_triton.comparison.against_baseline import Comparison, Entry, compare, write_comparison
from gravis_triton.comparison.bootstrap import Interval, paired_interval
from gravis_triton.comparison.grid import Grid, read_grid
from gravis_triton.comparison.plan import PlannedRun, check_consistent, check_encoders, plan_runs
from gravis_triton.comparison.results import Result, read_results, write_results_csv

__all__ = [
    "Comparison",
    "Entry",
    "Grid",
    "Interval",
    "PlannedRun",
    "Result",
    "check_consistent",
    "check_encoders",
    "compare",
    "paired_interval",
    "plan_runs",
    "read_grid",
    "read_results",
    "write_comparison",
    "write_results_csv",
]
