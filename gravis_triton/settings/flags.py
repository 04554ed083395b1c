"""Raw values of settings from the command line."""

import argparse
import inspect
import re
import sys
from collections.abc import Sequence
from dataclasses import is_dataclass
from typing import Any, NoReturn

from gravis_triton.errors import UserError
from gravis_triton.settings.fields import Setting, choices_of, flag, settings_of, value_type
from gravis_triton.settings.resolve import Kind, gather, type_of

_METAVARS = {int: "INT", float: "FLOAT"}


def read_flags(kind: Kind[Any], args: Sequence[str] | None = None, prog: str | None = None) -> dict[str, Any]:
    """The values of the flags that are given (default: in `sys.argv`), unchecked, by the names of their settings.

    Unknown flags are among them, without a value. --help prints the flags and exits. Raises UserError for a flag
    without its value, and for a word that belongs to no flag.
    """
    args = _joined(sys.argv[1:] if args is None else args)
    final = type_of(kind, {})
    if not is_dataclass(kind):  # which flags there are depends on others
        values = _parsed(final, [arg for arg in args if arg not in ("-h", "--help")], prog)
        final = type_of(kind, gather(kind, values)[0])
    return _parsed(final, args, prog)


def _parsed(kind: type[Any], args: Sequence[str], prog: str | None) -> dict[str, Any]:
    known, rest = _parser(kind, prog).parse_known_args(args)
    unknown = [arg.partition("=")[0] for arg in rest if arg.startswith("-")]
    if rest and not unknown:
        raise UserError(f"unexpected argument {rest[0]!r}")
    given = {name: None if value == "None" else value for name, value in vars(known).items()}
    return given | {name.lstrip("-").replace("-", "_"): None for name in unknown}


def _joined(args: Sequence[str]) -> list[str]:
    """The arguments with dashes in flags for underscores, and with negative numbers joined to their flags:
    argparse takes -1e-3 and -inf for flags."""
    joined: list[str] = []
    for arg in args:
        name, equals, value = arg.partition("=")
        if joined and joined[-1].startswith("--") and re.fullmatch(r"-(\.?\d.*|inf|nan)", arg):
            joined[-1] += f"={arg}"
        else:
            joined.append(name.replace("_", "-") + equals + value if arg.startswith("--") else arg)
    return joined


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(message)


def _parser(kind: type[Any], prog: str | None) -> argparse.ArgumentParser:
    settings = settings_of(kind).values()
    positional = [setting for setting in settings if setting.argument.positional]
    words = [s.argument.positional if s.required else f"[{s.argument.positional}]" for s in positional]
    parser = _Parser(
        prog=prog,
        usage=" ".join(["%(prog)s", *words, "[flags]"]),
        description=inspect.getdoc(kind),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,  # only what is given
        allow_abbrev=False,
    )
    groups: dict[str, Any] = {}
    for setting in settings:
        title = setting.title if setting.group else "arguments" if setting.argument.positional else "flags"
        group = groups.setdefault(title, None) or parser.add_argument_group(title)
        groups[title] = group
        _add(group, setting)
    return parser


def _add(group: Any, setting: Setting) -> None:
    argument, kind = setting.argument, value_type(setting.hint)
    options: dict[str, Any] = {"help": setting.help.replace("%", "%%")}
    if kind is bool:
        options["action"] = argparse.BooleanOptionalAction
    else:
        choices = ",".join(map(str, choices_of(setting.hint)))
        usual = f"{{{choices}}}" if choices else _METAVARS.get(kind, "TEXT")
        options["metavar"] = argument.positional or argument.metavar or usual
    if kind == tuple[str, ...]:
        options["nargs"] = "+"
    if argument.positional:
        group.add_argument(setting.name, **options, **({} if setting.required else {"nargs": "?"}))
    else:
        names = [flag(setting.name), *([argument.short] if argument.short else [])]
        group.add_argument(*names, dest=setting.name, **options)
