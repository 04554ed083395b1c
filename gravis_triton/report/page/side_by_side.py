"""The page of several runs side by side."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from gravis_triton.files import read_metrics
from gravis_triton.report.page.curves import curve_pictures, metric_points
from gravis_triton.report.page.html import Page, Section, Table, write_page
from gravis_triton.run_directory import RunDirectory
from gravis_triton.run_summary import kind_of, read_run, result_of, shown

_COMPARED = ("loss", "knn_mean_auc", "validation_mean_auc", "validation_jaccard")


def write_runs_page(runs: Sequence[RunDirectory], file: Path) -> None:
    """Write a page of finished runs side by side: results, settings that differ, curves.

    Raises UserError for a directory without a finished run.
    """
    read = [read_run(run) for run in runs]
    names = _names(runs)
    results = [
        (name, kind_of(config), result_of(summary))
        for name, (config, summary) in zip(names, read, strict=True)
    ]
    keys = list(dict.fromkeys(key for config, _ in read for key in config))
    differing = [
        (key, *(str(config.get(key, "")) for config, _ in read))
        for key in keys
        if key not in ("output_dir", "overwrite", "config", "resume")
        and len({str(config.get(key)) for config, _ in read}) > 1
    ]
    links = [
        (name, run.report.resolve().as_uri())
        for name, run in zip(names, runs, strict=True)
        if run.report.is_file()
    ]
    page = Page(
        title="Runs side by side",
        lead=", ".join(names),
        sections=[
            Section("Results", tables=[Table("Results", ("run", "job", "result"), results)]),
            Section("Settings", tables=[Table("Settings that differ", ("setting", *names), differing)]),
            *_curves(dict(zip(names, runs, strict=True))),
        ],
        links=links,
    )
    write_page(page, file)


def _names(runs: Sequence[RunDirectory]) -> list[str]:
    """The last parts of the runs' paths if these are unique, else the paths relative to their common parent."""
    names = [run.path.name for run in runs]
    if len(set(names)) == len(names):
        return names
    common = os.path.commonpath([run.path.absolute() for run in runs])
    return [os.path.relpath(run.path, common) for run in runs]


def _curves(runs: Mapping[str, RunDirectory]) -> list[Section]:
    lines = {name: read_metrics(run.metrics) for name, run in runs.items() if run.metrics.is_file()}
    panels = {
        shown(name): {run: metric_points(metrics, name) for run, metrics in lines.items()}
        for name in _COMPARED
    }
    pictures = curve_pictures(panels)
    return [Section("Training", pictures=pictures)] if pictures else []
