"""Write the table of known data sets in docs/data.md from layouts.yaml: `python docs/data.py`."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from gravis_triton.data.datasets import layouts

PAGE = Path(__file__).with_suffix(".md")
START, END = "<!-- from layouts.yaml, by docs/data.py -->\n", "<!-- end -->"


def table() -> str:
    """A row per data set."""
    rows = yaml.safe_load(Path(layouts.__file__).with_suffix(".yaml").read_text())
    head = "| data set | files | labels | groups | masks | splits | metric | license |"
    return "\n".join([head, "|---" * 8 + "|", *map(row_of, rows)]) + "\n"


def row_of(row: dict[str, Any]) -> str:
    """One row of the table."""
    parts, columns = row.get("parts", []), row.get("table", {})
    groups = [name for one in (*parts, columns) for name in groups_of(one)]
    splits = {split for part in parts for split in part["splits"].values()} | set(columns.get("index_files", ()))
    labels = ", ".join(row.get("classes", [])) or listed(columns.get("columns", {}).get("label", ["folders"]))
    files = listed(name for part in parts for name in files_of(part)) or listed([columns.get("file", "")])
    cells = [
        f"[{row['name']}]({row['source']})",
        "; ".join(filter(None, (files, row.get("modality", ""), row.get("note", "")))),
        labels,
        listed(groups),
        listed(name for part in parts for name in part.get("masks", [])),
        ", ".join(split for split in ("train", "validation", "test") if split in splits) or "none",
        row["metric"],
        row["license"],
    ]
    return "| " + " | ".join(cell or "none" for cell in cells) + " |"


def files_of(part: dict[str, Any]) -> Iterator[str]:
    """Folders and files of a part, without those of masks and groups."""
    yield from part["folders"]
    yield from filter(None, [part.get("hdf5")])
    for labels in part.get("labels", []):
        yield from labels["files"]


def groups_of(one: dict[str, Any]) -> Iterator[str]:
    """Columns of lesions and patients."""
    yield from one.get("columns", {}).get("group", [])
    for groups in one.get("groups", []):
        yield from groups["columns"]
    if one.get("lesion_folders"):
        yield "lesion_id"


def listed(names: Iterable[str]) -> str:
    """The names as code, each once; * stands for the name of a split."""
    return ", ".join(f"`{name.replace('{}', '*')}`" for name in dict.fromkeys(names) if name)


def page() -> str:
    """The page with the table as it should be."""
    text = PAGE.read_text()
    before, _, rest = text.partition(START)
    return before + START + "\n" + table() + "\n" + END + rest.partition(END)[2]


if __name__ == "__main__":
    PAGE.write_text(page())
