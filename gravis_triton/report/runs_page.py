"""The page of several runs side by side: results, settings that differ, curves."""

import os
from collections.abc import Sequence
from pathlib import Path

from gravis_triton.files import read_metrics
from gravis_triton.report.html import Page, Section, Table, write_page
from gravis_triton.report.run_page import curve_sections
from gravis_triton.run_directory import RunDirectory
from gravis_triton.run_summary import job_of, read_run, result_of
from gravis_triton.settings import IRRELEVANT


def write_runs_page(runs: Sequence[RunDirectory], file: Path) -> None:
    """Write a page of finished runs side by side. Raises UserError for a directory without a finished run."""
    configs, summaries = zip(*(read_run(run) for run in runs), strict=True)
    names = _names(runs)
    results = [
        (name, str(job_of(config)), result_of(summary))
        for name, config, summary in zip(names, configs, summaries, strict=True)
    ]
    settings = {
        key: [str(config.get(key, "")) for config in configs]
        for key in dict.fromkeys(key for config in configs for key in config)
        if key not in ("job", *IRRELEVANT)
    }
    differing = [(key, *values) for key, values in settings.items() if len(set(values)) > 1]
    links = [
        (name, run.report.resolve().as_uri()) for name, run in zip(names, runs, strict=True) if run.report.is_file()
    ]
    sections = [
        Section("Results", tables=[Table("Results", ("run", "job", "result"), results)]),
        Section("Settings", tables=[Table("Settings that differ", ("setting", *names), differing)]),
        *curve_sections({name: read_metrics(run.metrics) for name, run in zip(names, runs, strict=True)}),
    ]
    write_page(Page("Runs side by side", ", ".join(names), sections, links), file)


def _names(runs: Sequence[RunDirectory]) -> list[str]:
    """The last parts of the runs' paths if these are unique, else the paths relative to their common parent."""
    names = [run.path.name for run in runs]
    if len(set(names)) == len(names):
        return names
    common = os.path.commonpath([run.path.absolute() for run in runs])
    return [os.path.relpath(run.path, common) for run in runs]
