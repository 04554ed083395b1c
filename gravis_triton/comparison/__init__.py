"""Encoders compared: a grid of runs, their scores, and how sure a difference is."""

from gravis_triton.comparison.bootstrap import Interval, paired_interval
from gravis_triton.comparison.cells import Cell, plan_cells, refuse_contradiction
from gravis_triton.comparison.grid import Grid, read_grid
from gravis_triton.comparison.plot import draw_comparison
from gravis_triton.comparison.results import Result, read_results, write_results_csv
from gravis_triton.comparison.summary import Comparison, Entry, compare, write_comparison
from gravis_triton.comparison.table import markdown, reading, score_tables

__all__ = [
    "Cell",
    "Comparison",
    "Entry",
    "Grid",
    "Interval",
    "Result",
    "compare",
    "draw_comparison",
    "markdown",
    "paired_interval",
    "plan_cells",
    "read_grid",
    "read_results",
    "reading",
    "refuse_contradiction",
    "score_tables",
    "write_comparison",
    "write_results_csv",
]
