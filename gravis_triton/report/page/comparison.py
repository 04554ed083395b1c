"""The page of a comparison of encoders."""

from collections.abc import Sequence
from pathlib import Path

from gravis_triton.comparison.results import SCORES, Comparison, Result
from gravis_triton.report.comparison_figure import draw_against_views, draw_comparison
from gravis_triton.report.comparison_tables import cells, reading
from gravis_triton.report.page.html import Page, Picture, Section, Table, styled, write_page
from gravis_triton.run_summary import shown


def write_comparison_page(
    comparison: Comparison, results: Sequence[Result], directory: Path, *, data: str
) -> None:
    """Write report.html of a comparison, with links to the pages of its runs. data: name of the dataset."""
    with styled():
        by_labels = [
            Picture.of_figure(
                draw_comparison(comparison, [task]), f"{shown(task)}: score against label fraction"
            )
            for task in comparison.tasks
        ]
        by_views = [
            Picture.of_figure(
                draw_against_views(comparison, [task]), f"{shown(task)}: score against views in pre-training"
            )
            for task in comparison.tasks
            if comparison.curves
        ]
    figures = [Section("Score against label fraction", pictures=by_labels)]
    if by_views:
        figures.append(Section("Score against views", pictures=by_views))
    tables = []
    for task in comparison.tasks:
        header, rows = cells(comparison, task, SCORES[task][0])
        tables.append(Table(f"{shown(task)}: {shown(SCORES[task][0])}", header, rows))
    pages = list(dict.fromkeys(result.directory for result in results))
    links = [
        (f"{path.parent.name}/{path.name}", f"{path.relative_to(directory)}/report.html")
        for path in pages
        if (path / "report.html").is_file()
    ]
    page = Page(
        title=f"Comparison with {comparison.baseline} on {data}",
        lead=reading(comparison),
        sections=[Section("Scores", tables=tables), *figures],
        links=links,
    )
    write_page(page, directory / "report.html")
