"""Settings by their flat names: a job's settings are grouped in dataclasses, but users write `lr`, not
`optimization.lr`."""

import ast
import inspect
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from functools import lru_cache
from itertools import pairwise
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from pydantic.fields import FieldInfo

Settings = TypeVar("Settings")

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
    """One setting. hint: its type with its bounds; default: MISSING if it is required; group: name of the field that
    holds its dataclass, "" for the job itself; title: the first line of that dataclass."""

    name: str
    hint: Any
    default: Any
    description: str
    group: str
    title: str

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


def value_type(hint: Any) -> Any:
    """A type without its bounds and without None."""
    members = [member for member in get_args(bare(hint)) if member is not type(None)]
    return value_type(members[0]) if get_origin(bare(hint)) in (Union, UnionType) else bare(hint)


def choices_of(hint: Any) -> tuple[Any, ...]:
    """The values of a Literal, or ()."""
    return get_args(value_type(hint)) if get_origin(value_type(hint)) is Literal else ()


def settings_of(kind: type[Any]) -> Mapping[str, Setting]:
    """Name -> setting, for every setting in every group of a job's settings. Raises ValueError for a name in two of
    them."""
    settings: dict[str, Setting] = {}
    for setting in _walk(kind, "", None):
        if setting.name in settings:
            raise ValueError(f"{kind.__name__} has two settings named {setting.name}: rename one of them")
        settings[setting.name] = setting
    return settings


def _walk(kind: type[Any], group: str, start: Any) -> Iterator[Setting]:
    hints, descriptions = get_type_hints(kind, include_extras=True), _descriptions(kind)  # type: ignore[arg-type]
    title = (kind.__doc__ or "").splitlines()[0].rstrip(".")
    for field in fields(kind):
        hint, default = hints[field.name], field.default if start is None else getattr(start, field.name)
        if is_dataclass(hint):
            own = field.default if field.default_factory is MISSING else field.default_factory()
            yield from _walk(type(own), field.name, own)
        else:
            description = descriptions.get(field.name, "")
            yield Setting(
                name=field.name, hint=hint, default=default, description=description, group=group, title=title
            )


@lru_cache
def _descriptions(kind: type[Any]) -> dict[str, str]:
    """Name -> the string below each field in the source of a dataclass and of those it derives from."""
    descriptions = {}
    for base in reversed([base for base in kind.__mro__ if is_dataclass(base)]):
        try:
            (definition,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        except (OSError, TypeError):  # defined without a file, such as in a console
            continue
        assert isinstance(definition, ast.ClassDef)
        for field, text in pairwise(definition.body):
            if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr):
                descriptions[ast.unparse(field.target)] = inspect.cleandoc(ast.literal_eval(text.value))
    return descriptions


def flag(name: str) -> str:
    """The command line flag of a setting."""
    return f"--{str(name).replace('_', '-')}"


def flatten(settings: Any) -> dict[str, Any]:
    """Name -> value of every setting in every group."""
    values: dict[str, Any] = {}
    for field in fields(settings):
        value = getattr(settings, field.name)
        values |= flatten(value) if is_dataclass(value) else {field.name: value}
    return values


def override(settings: Settings, values: Mapping[str, Any]) -> Settings:
    """The settings with some values replaced, by their flat names; unknown names are ignored."""
    changed = {}
    for field in fields(settings):  # type: ignore[arg-type]
        value = getattr(settings, field.name)
        if is_dataclass(value):
            changed[field.name] = override(value, values)
        elif field.name in values:
            changed[field.name] = values[field.name]
    return replace(settings, **changed)  # type: ignore[type-var]
