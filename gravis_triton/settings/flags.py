"""Settings from the command line."""

import sys
from collections.abc import Sequence
from typing import TypeVar

import tyro

from gravis_triton.settings.config import chosen_anew, config_file, read_settings
from gravis_triton.settings.flat import RENAMED, flatten, override
from gravis_triton.settings.ranges import check_ranges, flag

Settings = TypeVar("Settings")


def parse_settings(
    kind: type[Settings], args: Sequence[str] | None = None, prog: str | None = None
) -> Settings:
    """A job's settings from flags (default: those of this process), on top of `--config` or of the run to resume.

    Where a flag names another augmentation or loss than the file, the parts of it that the file names are dropped.
    Exits with status 2 and tyro's message for a flag that does not exist or does not parse; raises UserError for a file
    as `read_settings`, and for a value out of range.
    """
    start = kind()
    given = parse_flags(kind, args, prog, start)
    file = config_file(flatten(given))
    if file is not None:
        start = read_settings(kind, file)
        given = parse_flags(kind, args, prog, start)
    if other := chosen_anew(flatten(start), flatten(given)):
        given = parse_flags(kind, args, prog, override(start, other))
    check_ranges(given)
    return given


def parse_flags(
    kind: type[Settings],
    args: Sequence[str] | None = None,
    prog: str | None = None,
    default: Settings | None = None,
) -> Settings:
    """A dataclass from flags (default: those of this process), on top of `default` where one is given.

    Exits with status 2 and tyro's message for a flag that does not exist or does not parse.
    """
    args = [_present_name(arg) for arg in (sys.argv[1:] if args is None else args)]
    config = (tyro.conf.OmitArgPrefixes,)
    if default is None:
        return tyro.cli(kind, args=args, prog=prog, config=config)
    return tyro.cli(kind, args=args, prog=prog, default=default, config=config)


def _present_name(arg: str) -> str:
    """A flag of version 0.1 under its present name."""
    name, equals, value = arg.partition("=")
    present = {flag(old): flag(new) for old, new in RENAMED.items()}
    return present.get(name, name) + equals + value
