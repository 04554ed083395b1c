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
    parts, table = row.get("parts", []), row.get("table", {"files": [], "columns": {"label": ["folders"]}})
    tables = [table, *(table for part in parts for table in part.get("tables", []))]
    groups = [name for table in tables for name in table["columns"].get("group", [])]
    groups += ["lesion_id" for part in parts if part.get("lesion_folders")]
    splits = {split for part in parts for split in part["splits"].values()} | set(table.get("index_files", ()))
    labels = ", ".join(row.get("classes", [])) or listed(table["columns"]["label"])
    files = listed(name for part in parts for name in files_of(part)) or listed(table["files"])
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
    for table in part.get("tables", []):
        yield from table["files"] if "label" in table["columns"] else ()


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
