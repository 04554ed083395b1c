"""Self-contained HTML pages of runs: no network, no scripts."""

from gravis_triton.report.page.comparison import write_comparison_page
from gravis_triton.report.page.html import Page, Picture, Section, Table, write_page
from gravis_triton.report.page.run import write_run_page
from gravis_triton.report.page.side_by_side import write_runs_page

__all__ = [
    "Page",
    "Picture",
    "Section",
    "Table",
    "write_comparison_page",
    "write_page",
    "write_run_page",
    "write_runs_page",
]
