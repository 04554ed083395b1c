"""Write the tables of docs/results.md and README.md from docs/results/*.csv: `python docs/results.py`.

A table stands between `<!-- scores NAME: TASK FRACTION, ... -->` and `<!-- end -->`; `only A, B` after a semicolon
picks encoders and leaves out the differences. A comparison is added or replaced by `python docs/results.py RUNS NAME`,
where RUNS is the output directory of `gravis compare`; say in results/runs.yaml where it was run.
"""

import csv
import json
import re
import sys
from pathlib import Path
from typing import TypeAlias

import yaml

from gravis_triton.comparison.results import SCORES
from gravis_triton.report.html import Table

DOCS = Path(__file__).parent
PAGES = (DOCS / "results.md", DOCS.parent / "README.md")
COLUMNS = ("task", "score", "label_fraction", "encoder", "mean", "spread", "seeds", "difference", "low", "high")
TASKS = {
    "knn": "kNN, AUC",
    "probe": "linear probe, AUC",
    "classification": "fine-tuned classification, AUC",
    "segmentation": "fine-tuned segmentation, Jaccard",
}
Row: TypeAlias = dict[str, str]

_TABLE = re.compile(r"(<!-- scores (\S+): ([^;]*?)(?:; only (.*?))? -->\n).*?(<!-- end -->)", re.DOTALL)


def page(file: Path) -> str:
    """The text of a page with its tables as the CSVs have them."""
    return _TABLE.sub(_filled, file.read_text())


def _filled(match: re.Match[str]) -> str:
    start, name, columns, only, end = match.groups()
    parts = [tuple(column.split()) for column in columns.split(",")]
    return start + table(name, parts, only.split(", ") if only else []) + end


def table(name: str, parts: list[tuple[str, ...]], only: list[str]) -> str:
    """A row per encoder; for each task and label fraction the mean over seeds, and the difference from the baseline."""
    scores = {(row["task"], row["label_fraction"], row["encoder"]): row for row in read(name)}
    wanted = [key for key in scores if key[:2] in parts]
    encoders = only or list(dict.fromkeys(encoder for *_, encoder in wanted))
    names = yaml.safe_load((DOCS / "results" / "runs.yaml").read_text())[name].get("names", {})
    header, rows = [""], [[names.get(encoder, encoder)] for encoder in encoders]
    several = len({fraction for _, fraction in parts}) > 1
    for task, fraction in parts:
        found = [scores.get((task, fraction, encoder)) for encoder in encoders]
        header.append(TASKS[task] + (f", {float(fraction):.0%} of the labels" if several else ""))
        compared = not only and any(row["difference"] for row in found if row)
        header += ["difference"] * compared
        for cells, row in zip(rows, found, strict=True):
            cells.append(mean_of(row, with_spread=not only))
            cells += [difference_of(row)] * compared
    return Table("", header, rows).markdown()


def mean_of(row: Row | None, *, with_spread: bool) -> str:
    if row is None:
        return ""
    return row["mean"] + (f" ± {row['spread']}" if with_spread and row["spread"] else "")


def difference_of(row: Row | None) -> str:
    return f"{row['difference']} [{row['low']}, {row['high']}]" if row and row["difference"] else ""


def read(name: str) -> list[Row]:
    with (DOCS / "results" / f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def add(runs: Path, name: str) -> None:
    """Keep the main scores of a comparison as docs/results/NAME.csv."""
    rows = []
    for entry in json.loads((runs / "comparison.json").read_text())["entries"]:
        if entry["score"] != SCORES[entry["task"]][0]:  # the main score of a task
            continue
        against = entry["against_baseline"] or {}
        rows.append(
            {
                **{key: entry[key] for key in ("task", "score", "encoder")},
                "label_fraction": f"{entry['label_fraction']:g}",
                "mean": f"{entry['mean']:.3f}",
                "spread": "" if entry["spread"] is None else f"{entry['spread']:.3f}",
                "seeds": len(entry["values"]),
                **{key: f"{against[key]:+.3f}" if against else "" for key in ("difference", "low", "high")},
            }
        )
    with (DOCS / "results" / f"{name}.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        add(Path(sys.argv[1]), sys.argv[2])
    for written in PAGES:
        written.write_text(page(written))
