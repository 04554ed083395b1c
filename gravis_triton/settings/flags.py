"""Settings from the command line."""

import sys
from collections.abc import Sequence
from typing import TypeVar

import tyro

from gravis_triton.settings.config import config_file, read_settings, reset_values
from gravis_triton.settings.flat import RENAMED, at_home, flatten, override
from gravis_triton.settings.ranges import check_ranges, flag

Settings = TypeVar("Settings")


def parse_settings(
    kind: type[Settings], args: Sequence[str] | None = None, prog: str | None = None
) -> Settings:
    """Parse a job's settings from flags (default: `sys.argv`), on top of `--config` or of the run to resume.

    If a flag names a different augmentation or loss from the file, the file's parameters of it are dropped.
    Exits with status 2 and tyro's message for an unknown or malformed flag; raises UserError for a file like
    `read_settings`, and for a value out of range.
    """
    start = kind()
    given = parse_flags(kind, args, prog, start)
    file = config_file(flatten(given))
    if file is not None:
        start = read_settings(kind, file)
        given = parse_flags(kind, args, prog, start)
    if other := reset_values(flatten(start), flatten(given)):
        given = parse_flags(kind, args, prog, override(start, other))
    check_ranges(given)
    return given


def parse_flags(
    kind: type[Settings],
    args: Sequence[str] | None = None,
    prog: str | None = None,
    default: Settings | None = None,
) -> Settings:
    """Parse a dataclass from flags (default: `sys.argv`), on top of `default` if given.

    Exits with status 2 and tyro's message for an unknown or malformed flag.
    """
    args = [_present_name(arg) for arg in (sys.argv[1:] if args is None else args)]
    config = (tyro.conf.OmitArgPrefixes,)
    if default is None:
        return tyro.cli(kind, args=args, prog=prog, config=config)
    return tyro.cli(kind, args=args, prog=prog, default=default, config=config)


def _present_name(arg: str) -> str:
    """The argument, with a flag of version 0.1 under its current name, and with the home directory for ~/."""
    name, equals, value = arg.partition("=")
    present = {flag(old): flag(new) for old, new in RENAMED.items()}
    return present.get(name, name) + equals + at_home(value)
