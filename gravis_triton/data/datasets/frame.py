"""Tables as columns of text, read by Arrow from CSV and Parquet files; errors name file, line and column."""

import csv
import io
import re
from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence
from pathlib import Path
from zipfile import BadZipFile

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from gravis_triton.errors import UserError

TABLE_SUFFIXES = (".csv", ".tsv", ".tab", ".parquet")
SPREADSHEET = ".xlsx"

_START = 1 << 16  # bytes that hold a header
_ABOVE_HEADER = re.compile(r"\A((sep=.|#[^,;\t|\r\n]*)?\r?\n)+")  # Excel's line about separators, and comments
_BLANK = " \t\r\n,;|"

_UNKNOWN = frozenset(
    {"", "na", "n/a", "n.a.", "<na>", "#n/a", "#n/a n/a", "#na", "nan", "-nan", "null", "-1", "-1.0", "-", "--"}
    | {"?", ".", "unknown", "unk", "unlabeled", "unlabelled", "missing", "not available", "unspecified", "undefined"}
    | {"not specified", "not known", "not applicable", "undetermined", "no label", "no diagnosis", "tbd"}
    | {"n.d.", "pending", "unbekannt", "inconnu", "desconocido", "desconhecido", "sconosciuto", "onbekend"}
)  # fmt: skip
"""Marks of unknown values, in lower case."""


def is_unknown(cell: str) -> bool:
    """Whether a cell is empty or a mark of an unknown value, such as NA, unknown or -1."""
    text = cell.strip()
    return text.casefold() in _UNKNOWN or text == "None"  # "none" may be a class


class Frame:
    """The columns of one table, as text without spaces around it."""

    def __init__(self, file: Path, table: pa.Table) -> None:
        self.file = file
        self.name = file.name
        self._parts: Sequence[Frame] = ()
        self.header: list[str] = table.column_names
        self._table = table
        self._joined: dict[str, tuple[Frame, list[int | None]]] = {}
        self._cells: dict[str, list[str]] = {}

    @classmethod
    def stacked(cls, frames: Mapping[str, "Frame"]) -> "Frame":
        """The rows of tables, value of the column split -> table, one after another."""
        names = {name.casefold(): name for frame in [*frames.values()][::-1] for name in reversed(frame.header)}
        tables = []
        for split, frame in frames.items():
            columns = {names[name.casefold()]: frame.cells(name) for name in frame.header}
            tables.append(pa.table({**columns, "split": [split] * len(frame)}))
        parts = list(frames.values())
        frame = cls(parts[0].file, pa.concat_tables(tables, promote_options="default"))
        frame.name, frame._parts = " + ".join(part.name for part in parts), parts
        return frame

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def cells(self, column: str) -> list[str]:
        """One cell per row, "" if it is empty."""
        if column not in self._cells:
            cells = self._table.column(column).to_pylist()
            self._cells[column] = ["" if cell is None else str(cell).strip() for cell in cells]
        return self._cells[column]

    def known(self, column: str) -> list[str]:
        """The cells, with "" for marks of unknown values."""
        cells = self.cells(column)
        known = {cell: "" if is_unknown(cell) else cell for cell in set(cells)}
        return [known[cell] for cell in cells]

    def join(self, other: "Frame", rows: Sequence[int | None], columns: Sequence[str]) -> None:
        """Add columns of another table. rows: its row for each row here, or None."""
        self.header = [*self.header, *columns]
        self._joined |= {name: (other, list(rows)) for name in columns}
        for name in columns:
            cells = other.cells(name)
            self._cells[name] = ["" if row is None else cells[row] for row in rows]

    def joined(self) -> list[str]:
        """Names of the other tables whose columns it has."""
        return sorted({other.file.name for other, _ in self._joined.values()})

    def fault(self, row: int, column: str, expected: str) -> UserError:
        """An error about one cell. row: from 0."""
        frame, found = self, self.cells(column)[row]
        if column in self._joined:
            frame, rows = self._joined[column]
            row = rows[row] or 0
        return UserError(f"{frame.place(row)}, column {column}: expected {expected}, found {found!r}")

    def check(self, column: str, cells: Sequence[str], accepted: Container[str], expected: str) -> None:
        """Raise UserError for the first of the cells, one per row, that is not accepted."""
        row = next((row for row, cell in enumerate(cells) if cell not in accepted), None)
        if row is not None:
            raise self.fault(row, column, expected)

    def place(self, row: int) -> str:
        """File and line of a row (from 0); in Parquet files the first row is line 1."""
        for part in self._parts:
            if row < len(part):
                return part.place(row)
            row -= len(part)
        if self.file.suffix.lower() == ".parquet":
            return f"{self.file}, line {row + 1}"
        rows = _csv_rows(_text(self.file))
        lines = [line for line, _ in rows][-len(self) :]  # without the header
        return f"{self.file}, line {lines[row]}"


def read_frame(file: Path, required: Sequence[str] = (), *, names: Sequence[str] = ()) -> Frame:
    """A CSV file, separated by commas, semicolons, tabs or bars, or a Parquet file.

    required: columns that it must have. names: of the columns of a CSV file without a header. Of a spreadsheet, the
    first sheet of several columns is read, from its first row with the required columns on.
    """
    frame = Frame(file, _parquet(file) if file.suffix.lower() == ".parquet" else _csv(file, names, required))
    missing = [column for column in required if column not in frame.header]
    if missing:
        raise UserError(
            f"{file}: no column {', '.join(missing)}; expected {', '.join(required)}, "
            f"found {', '.join(frame.header) or 'an empty file'}"
        )
    return frame


def header_of(file: Path) -> list[str]:
    """Names of the columns of a table, without reading the rest."""
    if file.suffix.lower() == ".parquet":
        return list(parquet_schema(file).names)
    if file.suffix.lower() == SPREADSHEET:
        return read_frame(file).header
    with file.open("rb") as stream:
        start = stream.read(_START)
    text = _below_comments(start.decode(_encoding(start), errors="replace"))
    return [name.strip() for name in next(_csv_rows(text), (0, []))[1]]


def parquet_schema(file: Path) -> pa.Schema:
    """Raises UserError for a file that is no Parquet file."""
    try:
        return pyarrow.parquet.read_schema(file)
    except (OSError, pa.ArrowInvalid) as error:
        raise UserError(f"{file}: cannot be read as a Parquet file: {error}") from error


def _parquet(file: Path) -> pa.Table:
    plain = [field.name for field in parquet_schema(file) if not pa.types.is_nested(field.type)]
    return pyarrow.parquet.read_table(file, columns=plain)


def _csv(file: Path, names: Sequence[str], required: Sequence[str]) -> pa.Table:
    text = _text(file, required)
    header = list(names) or [name.strip() for name in next(_csv_rows(text), (0, []))[1]]
    if twice := [column for column, count in Counter(header).items() if count > 1 and column]:
        raise UserError(f"{file}: duplicate column {', '.join(twice)}")
    if not header:
        return pa.table({})
    unique = [name or f"\0{position}" for position, name in enumerate(header)]
    try:
        table = pyarrow.csv.read_csv(
            io.BytesIO(text.lstrip("\r\n").encode()),
            read_options=pyarrow.csv.ReadOptions(column_names=unique, skip_rows=0 if names else 1),
            parse_options=pyarrow.csv.ParseOptions(
                delimiter=_delimiter(text),
                newlines_in_values='"' in text,
                invalid_row_handler=lambda row: "error" if row.text.strip(_BLANK) else "skip",
            ),
            convert_options=pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(unique, pa.string())),
        )
    except pa.ArrowInvalid as error:
        for line, cells in _csv_rows(text):
            if len(cells) != len(header):
                hint = ": remove the lines above the header" if len(header) == 1 else ""
                raise UserError(
                    f"{file}, line {line}: expected {len(header)} fields, found {len(cells)}{hint}"
                ) from error
        if "Empty CSV" not in str(error):
            raise UserError(f"{file}: cannot be read as a UTF-8 CSV file: {error}") from error
        table = pa.table({name: pa.array([], pa.string()) for name in unique})
    perhaps = [row for row, cell in enumerate(table.column(0).to_pylist()) if not cell.strip()]
    if perhaps:
        others = zip(*table.take(perhaps).to_pydict().values(), strict=True)
        blank = {row for row, cells in zip(perhaps, others, strict=True) if not any(map(str.strip, cells))}
        table = table.take([row for row in range(table.num_rows) if row not in blank])
    return table.select([name for name in unique if name[0] != "\0"])


def _sheet(file: Path, required: Sequence[str]) -> str:
    """The first sheet of several columns in a spreadsheet, as CSV with blank lines for the rows above its header."""
    try:
        from openpyxl import load_workbook  # type: ignore[import-untyped,unused-ignore]
    except ImportError as error:
        raise UserError(f"{file} needs openpyxl: pip install 'gravis-triton[xlsx]', or save it as CSV") from error
    try:
        sheets = load_workbook(file, read_only=True, data_only=True).worksheets
        filled = (sheet for sheet in sheets if any(len([*filter(None, row)]) > 1 for row in sheet.values))
        sheet = next(filled, sheets[0])
        rows = [[" ".join(str("" if cell is None else cell).split()) for cell in row] for row in sheet.values]
    except (OSError, ValueError, KeyError, IndexError, BadZipFile) as error:
        raise UserError(f"{file}: cannot be read as a spreadsheet: {error}") from error
    above = next((number for number, row in enumerate(rows) if any(row) and set(required) <= set(row)), 0)
    width = max(map(len, rows), default=0)
    text = io.StringIO("\n" * above)
    text.seek(above)
    csv.writer(text, lineterminator="\n").writerows(row + [""] * (width - len(row)) for row in rows[above:])
    return text.getvalue()


def _text(file: Path, required: Sequence[str] = ()) -> str:
    """The text of a CSV file in UTF-8, UTF-16 with a byte order mark, or Windows-1252; a spreadsheet as such a file."""
    if file.suffix.lower() == SPREADSHEET:
        return _sheet(file, required)
    try:
        data = file.read_bytes()
        if _encoding(data) == "utf-16":
            text = data.decode("utf-16")
            if "\n" not in text:
                raise ValueError("no lines in it")
            return _below_comments(text)
        if data[:2] == b"||":  # PH2: cells between double bars, and legends below
            return "\n".join("|".join(line.split("||")[1:4]) for line in data.decode().splitlines() if line[:2] == "||")
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            if b"\0" in data:
                raise
            text = data.decode("cp1252")
        return _below_comments(text)
    except (OSError, ValueError) as error:
        raise UserError(f"{file}: cannot be read as a UTF-8 CSV file: {error}") from error


def _below_comments(text: str) -> str:
    """The text with blank lines instead of those above the header that hold no columns."""
    return _ABOVE_HEADER.sub(lambda above: "\n" * above[0].count("\n"), text)


def _encoding(data: bytes) -> str:
    return "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"


def _csv_rows(text: str) -> Iterator[tuple[int, list[str]]]:
    """(line number, cells) of every row that is not blank."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text))
    for cells in reader:
        if any(cell.strip() for cell in cells):
            yield reader.line_num, cells


def _delimiter(text: str) -> str:
    return max(",;\t|", key=text.lstrip("\r\n").partition("\n")[0].count)
