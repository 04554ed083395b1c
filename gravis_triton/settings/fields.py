"""What a setting is: a field of a dataclass with its type, bounds, default, and the string below it as description."""

import ast
import inspect
import textwrap
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from itertools import chain, pairwise
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic.fields import FieldInfo

BOUNDS = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}
"""Bounds of pydantic's Field -> words."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Argument:
    """How a setting appears in help texts: `workers: Annotated[int | None, Argument(default="one per core")] = None`.

    default: what None stands for, in words. alias: another flag, such as -o. metavar: name of the value. positional:
    the same for an argument without a flag.
    """

    default: str = ""
    alias: str = ""
    metavar: str = ""
    positional: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """One setting. hint: its type with its bounds; default: MISSING if it is required; group: the dataclass among the
    bases of the job's settings that declares it, or the job's settings themselves."""

    name: str
    hint: Any
    default: Any
    description: str
    group: type[Any]

    @property
    def required(self) -> bool:
        return self.default is MISSING

    @property
    def argument(self) -> Argument:
        metadata = FieldInfo.from_annotation(self.hint).metadata
        return next((item for item in metadata if isinstance(item, Argument)), Argument())

    @property
    def help(self) -> str:
        """The description with bounds and default: "Peak learning rate. (above 0; default: 0.001)"."""
        metadata = FieldInfo.from_annotation(self.hint).metadata
        bounds = {key: getattr(item, key) for key in BOUNDS for item in metadata if hasattr(item, key)}
        limits = ", ".join(f"{BOUNDS[key]} {bound:,}" for key, bound in bounds.items())
        if bounds.keys() == {"ge", "le"}:
            limits = f"{bounds['ge']:,} to {bounds['le']:,}"
        default = "" if self.required else f"default: {self.argument.default or self.default}"
        notes = "; ".join(filter(None, (limits, default)))
        return f"{self.description} ({notes})" if notes else self.description


def bare(hint: Any) -> Any:
    """A type without its bounds."""
    return FieldInfo.from_annotation(hint).annotation


@cache
def value_type(hint: Any) -> Any:
    """A type without its bounds and without None."""
    members = [member for member in get_args(bare(hint)) if member is not type(None)]
    return value_type(members[0]) if get_origin(bare(hint)) in (Union, UnionType) else bare(hint)


def choices_of(hint: Any) -> tuple[Any, ...]:
    """The values of a Literal, or ()."""
    return get_args(value_type(hint)) if get_origin(value_type(hint)) is Literal else ()


def settings_of(kind: type[Any]) -> dict[str, Setting]:
    """Name -> setting, group by group, those of the job itself first. Raises ValueError for a name in two groups."""
    return _settings_of(kind)  # type: ignore[arg-type]  # a class is hashable


@cache
def _settings_of(kind: type[Any]) -> dict[str, Setting]:
    hints, own = get_type_hints(kind, include_extras=True), {field.name: field for field in fields(kind)}
    settings = {}
    for name, group in _groups(kind).items():
        default, factory = own[name].default, own[name].default_factory
        settings[name] = Setting(
            name=name,
            hint=hints[name],
            default=default if factory is MISSING else factory(),
            description=_descriptions(group).get(name, ""),  # type: ignore[arg-type]
            group=group,
        )
    return settings


def _groups(kind: type[Any]) -> dict[str, type[Any]]:
    """Name of each setting -> the dataclass that declares it, of those that a job's settings are composed of."""
    bases = [base for base in kind.__bases__ if is_dataclass(base)]
    if len(bases) < 2:
        return {field.name: kind for field in fields(kind)}
    groups = {field.name: kind for field in fields(kind) if field.name in inspect.get_annotations(kind)}
    for name, group in chain(*(_groups(base).items() for base in bases)):
        if not issubclass(groups.setdefault(name, group), group):  # else it is overridden
            raise ValueError(f"{name} is a setting of {group.__name__} and of another group: rename it")
    return groups


@cache
def _descriptions(kind: type[Any]) -> dict[str, str]:
    """Name -> the string below each field in the source of a dataclass and of those it derives from."""
    descriptions: dict[str, str] = {}
    for base in filter(is_dataclass, reversed(kind.__bases__)):
        descriptions |= _descriptions(base)
    try:
        (definition,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    except (OSError, TypeError):  # defined without a file, such as in a console
        return descriptions
    assert isinstance(definition, ast.ClassDef)
    for field, text in pairwise(definition.body):
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr):
            descriptions[ast.unparse(field.target)] = inspect.cleandoc(ast.literal_eval(text.value))
    return descriptions


def flag(name: str) -> str:
    """The command line flag of a setting."""
    return f"--{str(name).replace('_', '-')}"
