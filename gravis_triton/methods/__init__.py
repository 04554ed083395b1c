"""Self-supervised methods, a file each; docs/methods.md shows how to write one."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from importlib import import_module
from typing import Any, cast

from gravis_triton.errors import UserError, did_you_mean
from gravis_triton.methods.base import Method, Metrics
from gravis_triton.methods.byol import BYOL
from gravis_triton.methods.dino import DINO
from gravis_triton.methods.gravis import Gravis, GravisRank, NTXent, Triplet
from gravis_triton.methods.vicreg import VICReg
from gravis_triton.settings.jobs import MethodName, PretrainSettings

METHODS: Mapping[str, type[Method]] = {
    "gravis": Gravis,
    "gravis-rank": GravisRank,
    "nt-xent": NTXent,
    "triplet": Triplet,
    "byol": BYOL,
    "vicreg": VICReg,
    "dino": DINO,
}
"""The names of `--method`."""


def find_method(name: str) -> type[Method]:
    """The method of a name in `METHODS`, or the class that `package.module:Class` names; else raises UserError."""
    if name in METHODS:
        return METHODS[name]
    module, _, attribute = name.partition(":")
    if not attribute:
        hint = did_you_mean(name, METHODS) or f"; methods: {', '.join(METHODS)}, or package.module:Class"
        raise UserError(f"unknown --method {name}{hint}")
    try:
        method = getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise UserError(f"--method {name}: {error}") from error
    if not (isinstance(method, type) and issubclass(method, Method)):
        raise UserError(f"--method {name} is not a subclass of gravis_triton.methods.Method")
    return method


def pretrain_settings(values: Mapping[str, Any]) -> type[PretrainSettings]:
    """The settings of pre-training by the method in these raw values: those of every method, and its own."""
    name = str(values.get("method", PretrainSettings.method))
    return _settings_with(name, cast(Any, find_method(name)))


@lru_cache
def _settings_with(name: str, found: Any) -> type[PretrainSettings]:
    own = found.Settings
    if taken := {field.name for field in fields(own)} & {field.name for field in fields(PretrainSettings)}:
        raise UserError(f"--method {name}: rename its setting {min(taken)}, which all methods have")
    try:

        @dataclass(frozen=True, kw_only=True)
        class MethodPretrainSettings(PretrainSettings, own):  # type: ignore[misc, valid-type]
            __doc__ = PretrainSettings.__doc__
            method: MethodName = name

            def check(self) -> None:
                super().check()
                found.complete(self)

    except TypeError as error:
        raise UserError(f"--method {name}: its Settings must be a dataclass(frozen=True)") from error
    return MethodPretrainSettings
