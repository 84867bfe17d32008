"""docs/typologies.md, made of what the typologies say of themselves.

python -m tests.typologies_page > docs/typologies.md    (make schemas does it, make check looks)
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from types import ModuleType

import msgspec

from engines import typologies
from engines.library import meanings
from engines.typologies import TypologySpec

HEAD = """# Typologies

One pattern a file under `engines/typologies`; this page is made of those files (`python -m tests.typologies_page`), and
a test holds it to them. Scores lie in [0, 1]; an episode opens at **open**, turns critical at **critical**, and closes
when scores stayed below **close** for the **hold**. A desk's rules can change the thresholds of all of them.

Typologies of order events judge one account in one instrument, in units of the instrument's own: the median of what is
quoted at the best price (median depths), the standard deviation of the price's moves, messages of busy minutes. All
conditions of a typology must hold; the weakest decides: with m the number of times over that it is met, the score is
m²/(1 + m²), 0.5 where it is just met. A condition that cannot be judged, because accounts, numbers of trades or a
venue's session are missing, is counted by typology (`no_account: spoofing`), and nothing is told.
"""


def modules() -> Iterator[ModuleType]:
    """Yield the modules of all typologies, by name."""
    for found in pkgutil.iter_modules(typologies.__path__):
        module = importlib.import_module(f"engines.typologies.{found.name}")
        if isinstance(getattr(module, "SPEC", None), TypologySpec):
            yield module


def page() -> str:
    """Return the page."""
    rows = [
        "| typology | what it tells | open | critical | close | hold | regulation |",
        "|---|---|---|---|---|---|---|",
    ]
    sections = []
    for module in modules():
        spec: TypologySpec = module.SPEC
        rows.append(
            f"| [{spec.name}](#{spec.name}) | {spec.title} | {spec.open:g} | {spec.critical:g} | {spec.close:g} "
            f"| {spec.hold_ns / 60e9:g} min | {'; '.join(spec.regulation) or '–'} |"
        )
        sections.append(f"## {spec.name}\n\n{inspect.getdoc(module)}\n{''.join(map(_parameters, _configs(module)))}")
    return "\n".join([HEAD, *rows, "", *sections])


def _configs(module: ModuleType) -> Iterator[type[msgspec.Struct]]:
    for name, one in vars(module).items():
        if name.endswith("Config") and issubclass(one, msgspec.Struct) and one.__module__ == module.__name__:
            yield one


def _parameters(config: type[msgspec.Struct]) -> str:
    """Return the table of a configuration's parameters: name, default, and what its docstring says of each."""
    said = meanings(config)
    lines = ["", "| parameter | default | unit | meaning |", "|---|---|---|---|"]
    for field in msgspec.structs.fields(config):
        unit, meaning = said.get(field.name, ("", ""))
        default = f"{field.default:,}" if isinstance(field.default, int) else f"{field.default}"
        lines.append(f"| {field.name} | {default} | {unit} | {meaning} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    print(page(), end="")
