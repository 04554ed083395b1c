"""Reading the CSV files that come with image collections; errors name file, line and column."""

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gravis_triton.errors import UserError


@dataclass(frozen=True, slots=True)
class Row:
    """One data row: its line in the file (the first line is 1) and its cells by column name, stripped."""

    file: Path
    line: int
    cells: dict[str, str]

    def fault(self, column: str, expected: str) -> UserError:
        found = self.cells[column]
        return UserError(
            f"{self.file}, line {self.line}, column {column}: expected {expected}, found {found!r}"
        )


def read_lines(file: Path) -> Iterator[tuple[int, list[str]]]:
    """(line number, stripped cells) of every non-blank line of a file separated by commas, semicolons or tabs,
    whichever its first line has most of."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            delimiter = max(",;\t", key=stream.readline().count)
            stream.seek(0)
            reader = csv.reader(stream, delimiter=delimiter)
            for cells in reader:
                if any(cell.strip() for cell in cells):
                    yield reader.line_num, [cell.strip() for cell in cells]
    except (csv.Error, UnicodeDecodeError, OSError) as error:
        raise UserError(f"{file}: cannot be read as a UTF-8 CSV file: {error}") from error


def read_table(file: Path, required: Sequence[str]) -> list[Row]:
    """All data rows of a file whose first line names the columns, which must include `required`."""
    lines = read_lines(file)
    _, header = next(lines, (1, []))
    missing = [column for column in required if column not in header]
    if missing:
        raise UserError(
            f"{file}: no column {', '.join(missing)}; expected {', '.join(required)}, "
            f"found {', '.join(header) or 'an empty file'}"
        )
    twice = [column for column, count in Counter(header).items() if count > 1 and column]
    if twice:
        raise UserError(f"{file}: duplicate column {', '.join(twice)}")
    rows = []
    for line, cells in lines:
        if len(cells) != len(header):
            raise UserError(f"{file}, line {line}: expected {len(header)} fields, found {len(cells)}")
        rows.append(Row(file, line, dict(zip(header, cells, strict=True))))
    return rows
