"""Raw values of settings from the command line."""

import argparse
import inspect
import re
import sys
from collections.abc import Sequence
from dataclasses import is_dataclass
from typing import Any, NoReturn

from gravis_triton.errors import UserError, did_you_mean
from gravis_triton.settings.fields import Setting, choices_of, flag, settings_of, value_type
from gravis_triton.settings.resolve import Kind, gather, type_of

_METAVARS = {int: "INT", float: "FLOAT"}


def read_flags(kind: Kind[Any], args: Sequence[str] | None = None, prog: str | None = None) -> dict[str, Any]:
    """The values of the flags that are given (default: in `sys.argv`), unchecked, by the names of their settings.

    --help prints the flags and exits. Raises UserError for an unknown flag, a flag without its value, and a word that
    belongs to no flag.
    """
    text = "\0".join(sys.argv[1:] if args is None else args)
    text = re.sub(r"(?<![^\0])--\w[\w-]*", lambda name: name[0].replace("_", "-"), text)
    text = re.sub(r"(--[\w-]+)\0(-\.?\d|-inf|-nan)", r"\1=\2", text)  # argparse takes -1e-3 and -inf for flags
    args = text.split("\0") if text else []
    final = type_of(kind, {})
    if not is_dataclass(kind):  # which flags there are depends on others
        known, _ = _parser(final, prog).parse_known_args([arg for arg in args if arg not in ("-h", "--help")])
        final = type_of(kind, gather(kind, {name: v for name, v in vars(known).items() if v != "None"})[0])
    known, rest = _parser(final, prog).parse_known_args(args)
    if unknown := [arg.partition("=")[0] for arg in rest if arg.startswith("-")]:
        settings = settings_of(final).values()
        words = {flag(setting.name): setting.argument.positional for setting in settings}
        if word := words.get(unknown[0]):
            raise UserError(f"{unknown[0]} is not a flag of this job: give {word} without it")
        flags = [*(name for name, word in words.items() if not word), *(setting.argument.alias for setting in settings)]
        raise UserError(f"unknown flag {unknown[0]}{did_you_mean(unknown[0], flags)}")
    if rest:
        raise UserError(f"unexpected argument {rest[0]!r}")
    return {name: None if value == "None" else value for name, value in vars(known).items()}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(message)


def _parser(kind: type[Any], prog: str | None) -> argparse.ArgumentParser:
    settings = settings_of(kind).values()
    positional = [(setting.argument.positional, setting.required) for setting in settings]
    words = [name if required else f"[{name}]" for name, required in positional if name]
    parser = _Parser(
        prog=prog,
        usage=" ".join(["%(prog)s", *words, "[flags]"]),
        description=inspect.getdoc(kind),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,  # only what is given
        allow_abbrev=False,
    )
    groups: dict[type[Any], Any] = {}
    for setting in settings:
        if setting.group not in groups:
            title = (setting.group.__doc__ or "").splitlines()[0].rstrip(".")
            groups[setting.group] = parser.add_argument_group("arguments" if setting.group is kind else title)
        names, options = _argument(setting)
        groups[setting.group].add_argument(*names, **options)
    return parser


def _argument(setting: Setting) -> tuple[list[str], dict[str, Any]]:
    """Names and options of argparse's `add_argument`."""
    argument, kind = setting.argument, value_type(setting.hint)
    choices = ",".join(map(str, choices_of(setting.hint)))
    usual = f"{{{choices}}}" if choices else _METAVARS.get(kind, "TEXT")
    options: dict[str, Any] = {"help": setting.help.replace("%", "%%")}
    if kind is bool:
        options["action"] = argparse.BooleanOptionalAction
    else:
        options["metavar"] = argument.positional or argument.metavar or usual
    if kind == tuple[str, ...]:
        options["nargs"] = "+"
    if argument.positional:
        return [setting.name], options if setting.required else options | {"nargs": "?"}
    return [flag(setting.name), *filter(None, [argument.alias])], options | {"dest": setting.name}
