"""All typologies that there are, found where they are defined: what a rule may name, and which parameters that has."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType, ModuleType
from typing import Any, Literal, cast

import msgspec

from engines import anomaly, typologies
from engines.typologies import TypologySpec

Scope = Literal["instrument", "account", "market"]


class Known(msgspec.Struct, frozen=True):
    """A typology: its ``spec``, the type of its parameters (None where it has none), and the ``scope`` it speaks of.

    ``definition`` is the first paragraph of its module's docstring; ``of_class`` has the parameters of asset classes
    for which they are others than ``config()``.
    """

    spec: TypologySpec
    config: type[msgspec.Struct] | None
    scope: Scope
    definition: str
    of_class: Mapping[str, msgspec.Struct]


@cache
def library() -> MappingProxyType[str, Known]:
    """Return every typology by its name: each module of `engines.typologies` that has a ``SPEC``, and the anomaly's.

    A module's parameters are its own Struct whose name ends with ``Config``; a module that speaks of another scope than
    an instrument says so by ``SCOPE``.

    Example
    -------
    >>> library()["pump_and_dump"].config.__name__
    'PumpConfig'
    """
    names = [found.name for found in pkgutil.iter_modules(typologies.__path__)]
    modules = [anomaly, *(importlib.import_module(f"{typologies.__name__}.{name}") for name in names)]
    known = [_known(module) for module in modules if hasattr(module, "SPEC")]
    return MappingProxyType({one.spec.name: one for one in sorted(known, key=lambda one: one.spec.name)})


@cache
def of_accounts() -> frozenset[str]:
    """Return the names of the typologies that judge accounts apart from instruments."""
    return frozenset(name for name, known in library().items() if known.scope == "account")


def _known(module: ModuleType) -> Known:
    own = [
        kind
        for name, kind in vars(module).items()
        if name.endswith("Config") and isinstance(kind, type) and kind.__module__ == module.__name__
    ]
    if len(own) > 1:
        raise TypeError(f"{module.__name__}: expected one ...Config, found {', '.join(kind.__name__ for kind in own)}")
    return Known(
        module.SPEC,
        cast(type[msgspec.Struct], own[0]) if own else None,
        getattr(module, "SCOPE", "instrument"),
        " ".join((module.__doc__ or "").split("\n\n")[0].split()),
        getattr(module, "OF_CLASS", MappingProxyType({})),
    )


def meanings(config: type[msgspec.Struct]) -> dict[str, tuple[str, str]]:
    """Return the unit and the meaning of a Config's fields, as far as the table in its docstring tells them.

    Example
    -------
    >>> meanings(library()["spoofing"].config)["size"][0]
    'median depths'
    """
    told: dict[str, tuple[str, str]] = {}
    for line in (inspect.getdoc(config) or "").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and len(cells) == 3:
            told.update({name.strip(): (cells[1], cells[2]) for name in cells[0].split(",")})
    return told


def defaults(config: type[msgspec.Struct]) -> dict[str, Any]:
    """Return a Config's fields with their default values, in order."""
    made = config()
    return {name: getattr(made, name) for name in config.__struct_fields__}
