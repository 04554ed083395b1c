"""Settings from the command line and from YAML files, and back to YAML."""

import contextlib
import dataclasses
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar, get_type_hints

import tyro
import yaml

from gravis_triton.errors import UserError
from gravis_triton.files import write_whole
from gravis_triton.settings.augmentation import STEPS, augmentation
from gravis_triton.settings.groups import AugmentSettings, RunSettings, TrainingSettings
from gravis_triton.settings.ranges import check_ranges
from gravis_triton.settings.values import read_values

Flags = TypeVar("Flags")
Settings = TypeVar("Settings", bound=RunSettings)


def parse_settings(kind: type[Settings], args: Sequence[str] | None = None) -> Settings:
    """Settings from the command line (None: this process's), on top of `--config FILE` or of the run to `--resume`.

    Where a flag names another augmentation, its steps take the place of the file's. Raises UserError for a flag that
    does not exist or does not parse, for a file that is missing, malformed, or has an unknown key or a value of a wrong
    type, and for a value out of range.
    """
    start = kind()
    given = parse_flags(kind, args, start)
    file = _config_file(given)
    if file is not None:
        start = read_settings(kind, file)
        given = parse_flags(kind, args, start)
    if isinstance(given, AugmentSettings) and (
        file is None or given.augment != getattr(start, "augment", None)
    ):
        given = parse_flags(kind, args, dataclasses.replace(start, **augmentation(given.augment)))
    check_ranges(given)
    return given


def parse_flags(kind: type[Flags], args: Sequence[str] | None = None, default: Flags | None = None) -> Flags:
    """A dataclass from the command line (None: this process's), on top of a default where one is given.

    Raises UserError for a flag that does not exist or does not parse.
    """
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            if default is None:
                return tyro.cli(kind, args=args)
            return tyro.cli(kind, args=args, default=default)
    except SystemExit as exit:
        if not exit.code:  # --help
            raise
        raise UserError(_in_one_line(complaint.getvalue())) from exit


def _in_one_line(complaint: str) -> str:
    """What tyro says in a box of paragraphs: the first one, and the flags that it thinks were meant."""
    text = "\n".join(line.strip("│╭╮╰╯|+ ") for line in complaint.splitlines())
    paragraphs = (" ".join(paragraph.split()) for paragraph in re.split(r"[─-]{9,}", text))
    title, *rest = filter(None, paragraphs)
    said = rest[0] if rest else title
    meant = [
        flag
        for paragraph in rest
        if "meant" in paragraph
        for flag in re.findall(r"--[a-z][a-z-]*", paragraph)
    ]
    return said.rstrip(".") + (f"; perhaps you meant {meant[0]}" if meant else "; --help lists the flags")


def _config_file(settings: RunSettings) -> Path | None:
    if settings.config is not None:
        return Path(settings.config)
    if not isinstance(settings, TrainingSettings) or settings.resume in (None, "auto"):
        return None
    saved = run_directory(Path(str(settings.resume))) / "config.yaml"
    return saved if saved.is_file() else None


def run_directory(path: Path) -> Path:
    """The run directory that a path names: itself, or the one that the checkpoint lies in."""
    return path.parent.parent if path.parent.name == "checkpoints" else path


def read_settings(kind: type[Settings], file: Path) -> Settings:
    """Settings from a YAML file of `name: value` lines; what it does not name keeps its default, and a step of
    augmentation the strength that it has in the augmentation that the file names."""
    values = read_values(file, get_type_hints(kind))
    if issubclass(kind, AugmentSettings) and not STEPS.keys() <= values.keys():
        values = {**augmentation(values.get("augment", kind.augment)), **values}
    return kind(**values)


def write_settings(settings: RunSettings, file: Path) -> None:
    """Write all settings as YAML that `--config` reads; the file appears whole or not at all."""
    write_whole(file, yaml.safe_dump(dataclasses.asdict(settings), sort_keys=False))
