"""Rule files as YAML: read with every mistake and its place.

The types of `engines.rules` and the parameters of `engines.library` are the whole grammar. Names are theirs, but times:
a field ``hold_ns`` is written ``hold: 30 min``.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec
import yaml
from msgspec import inspect

from engines import yaml_text
from engines.library import defaults, library, meanings, of_accounts
from engines.rules import DURATION, DURATION_PATTERN, LABEL_PREFIX, TIME, Override, RuleFile, Scenario, When, overridden

#: Longer texts are no rules.
MOST_BYTES = 256 * 1024
#: Mistakes after which no more are looked for: for each it is guessed what was meant.
MOST_PROBLEMS = 100
_UNITS_NS = {
    "d": 86_400_000_000_000,
    "h": 3_600_000_000_000,
    "min": 60_000_000_000,
    "s": 1_000_000_000,
    "ms": 1_000_000,
    "us": 1_000,
    "ns": 1,
}
_LONGEST_NS = 36_500 * _UNITS_NS["d"]
#: Units of parameters that have an end: what lies beyond it is always so, or never.
MOST = {"share": 1.0, "0 to 100": 100.0}
_DURATION = inspect.type_info(Override).fields[4].type  # type: ignore[attr-defined]


class Problem(NamedTuple):
    """A mistake and where it stands, both counted from 1."""

    line: int
    column: int
    text: str


class RulesError(ValueError):
    """A text is no rules; ``problems`` are all of its mistakes, in order."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(set(problems)))
        super().__init__("; ".join(f"line {one.line}, column {one.column}: {one.text}" for one in self.problems))


def read(text: str) -> RuleFile:
    """Return the rules of a YAML text.

    Raises
    ------
    RulesError
        It has mistakes.

    Example
    -------
    >>> read("version: 7\\ntypologies: {pump_and_dump: {hold: 30 min}}").typologies["pump_and_dump"].hold_ns
    1800000000000
    """
    if (size := len(text.encode("utf-8", "replace"))) > MOST_BYTES:
        raise RulesError([Problem(1, 1, f"expected at most {MOST_BYTES:,} bytes of YAML, found {size:,}; split it")])
    try:
        root = yaml_text.compose(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        at = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise RulesError([Problem(*at, f"expected YAML, found that {error.problem}; correct it there")]) from None
    except yaml.YAMLError as error:
        told = " ".join(str(error).split())
        raise RulesError([Problem(1, 1, f"expected YAML, found that {told}; correct it there")]) from None
    if root is None:
        raise RulesError([Problem(1, 1, "expected rules, found nothing; begin with `version: NAME`")])
    reader = _Reader()
    found = reader.struct(root, RuleFile, "")
    if reader.problems:
        raise RulesError(reader.problems)
    assert isinstance(found, RuleFile)
    return found


def duration(ns: int) -> str:
    """Return a duration as rule files have it.

    Example
    -------
    >>> duration(1_800_000_000_000), duration(90_000_000_000), duration(0)
    ('30 min', '90 s', '0 s')
    """
    unit = next(unit for unit, size in _UNITS_NS.items() if ns % size == 0 and (ns or unit == "s"))
    return f"{ns // _UNITS_NS[unit]} {unit}"


def written(field: str, value: object) -> tuple[str, str]:
    """Return a parameter's name and value as rule files have them.

    Example
    -------
    >>> written("window_ns", 60_000_000_000), written("rise", 0.04)
    (('window', '1 min'), ('rise', '0.04'))
    """
    if field.endswith("_ns") and isinstance(value, int):
        return field.removesuffix("_ns"), duration(value)
    if isinstance(value, bool):
        return field, "true" if value else "false"
    if isinstance(value, float | int):
        return field, f"{value:g}" if abs(value) < 1e15 else str(value)
    return field, msgspec.json.encode(value).decode()


class _Reader:
    """Goes through a document along the types, and notes what is wrong on its way."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def _wrong(self, node: yaml.Node, where: str, text: str) -> None:
        mark = node.start_mark
        self.problems.append(Problem(mark.line + 1, mark.column + 1, f"{where}: {text}" if where else text))
        if len(self.problems) == MOST_PROBLEMS:
            raise RulesError(self.problems)

    # What has parts.

    def struct(self, node: yaml.Node, kind: type[msgspec.Struct], where: str) -> msgspec.Struct | None:
        """Return a record, None where that is impossible; what is wrong is noted."""
        fields = {field.encode_name: field for field in _struct(kind).fields}
        before, values = len(self.problems), dict[str, Any]()
        if not isinstance(node, yaml.MappingNode):
            self._wrong(node, where, f"expected `name: value`, found {_found(node)}; see examples/rules.yaml")
            return None
        given = self._entries(node, where, fields, "field")
        for name, (_, value) in given.items():
            values[fields[name].name] = self._value(value, fields[name].type, _within(where, name))
        for name, field in fields.items():
            if field.required and name not in given:
                self._wrong(node, where, f"expected a field {name}, found none; add `{name}: ...`")
        if len(self.problems) > before:
            return None
        try:
            made = kind(**values)
        except ValueError as error:
            self._wrong(node, where, str(error))
            return None
        if isinstance(made, Scenario):
            self._scenario(node, {name: value for name, (_, value) in given.items()}, made, where)
        elif isinstance(made, RuleFile):
            self._names(made, given)
        return made

    def _entries(
        self, node: yaml.Node, where: str, known: Collection[str] | None, what: str
    ) -> dict[str, tuple[yaml.Node, yaml.Node]]:
        """Return a mapping's entries by key, each once; ``known``: the keys that it may have (None: any)."""
        if not isinstance(node, yaml.MappingNode):
            self._wrong(node, where, f"expected `{what}: ...`, found {_found(node)}; see examples/rules.yaml")
            return {}
        entries: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        for key, value in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else ""
            if not name or (known is not None and name not in known):
                told = f"expected {_one_of(known)}" if known else "expected a name"
                self._wrong(key, where, f"{told}, found {what} {name or _found(key)}; {_meant(name, known)}")
            elif name in entries:
                self._wrong(key, where, f"expected {name} once, found it again; keep one of them")
            else:
                entries[name] = key, value
        return entries

    def _typologies(self, node: yaml.Node, where: str) -> dict[str, Override]:
        found: dict[str, Override] = {}
        for name, (key, value) in self._entries(node, where, library(), "typology").items():
            here = _within(where, name)
            override = self.struct(value, Override, here)
            if not isinstance(override, Override):
                continue
            rules = RuleFile(version="checked", typologies={name: override})
            try:
                overridden(library()[name].spec, rules)
            except ValueError as error:
                self._wrong(key, here, str(error).partition(": ")[2] + "; change what is out of order")
            if override.budget is not None and (scope := library()[name].scope) != "instrument":
                told = f"expected none, for {name} judges no instrument but the {scope}, found {override.budget:g}"
                self._wrong(key, _within(here, "budget"), f"{told}; remove it")
            found[name] = override
        return found

    def _parameters(self, node: yaml.Node, where: str) -> dict[str, Any]:
        name = where.split(".")[-2]
        config = library()[name].config
        if config is None:
            self._wrong(node, where, f"expected none, for {name} has no parameters, found some; remove them")
            return {}
        fields = {written(field.name, 0)[0]: field for field in _struct(config).fields}
        usual, units, values = defaults(config), meanings(config), dict[str, Any]()
        for given, (_, value) in self._entries(node, where, fields, "parameter").items():
            field = fields[given]
            here = _within(where, given)
            known = len(self.problems)
            found = self._value(value, _DURATION if field.name.endswith("_ns") else field.type, here)
            unit, _ = units.get(field.name, ("", ""))
            if len(self.problems) == known and _out_of_range(found, usual[field.name], unit):
                least = "above 0" if usual[field.name] > 0 else "of at least 0"
                most = f" and at most {MOST[unit]:g}" if unit in MOST else ""
                self._wrong(value, here, f"expected a number {least}{most}, found {found}; give one in range")
            values[field.name] = found
        if not self.problems:
            try:
                config(**(usual | values))
            except ValueError as error:
                self._wrong(node, where, f"{error}; change what does not fit together")
        return values

    def _scenario(self, node: yaml.Node, given: Mapping[str, yaml.Node], made: Scenario, where: str) -> None:
        try:
            made.spec("checked")
        except ValueError as error:
            self._wrong(node, where, str(error).partition(": ")[2] + "; change weights or thresholds")
        weights = given["weights"]
        heard = [name for name, known in library().items() if known.scope != "market"]
        unknown = {
            key.value: key
            for key, _ in weights.value
            if key.value not in heard and not key.value.startswith(LABEL_PREFIX)
        }
        for name, key in unknown.items():
            self._wrong(
                key,
                _within(where, "weights"),
                f"expected typologies of instruments or accounts, or {LABEL_PREFIX}NAME, found {name};"
                f" {_meant(name, heard)}",
            )
        known = made.weights.keys() - unknown.keys()
        ours, others = sorted(known & of_accounts()), sorted(known - of_accounts())
        if ours and others:
            self._wrong(
                weights,
                _within(where, "weights"),
                f"expected typologies of instruments alone or of accounts alone, found {', '.join(others)} of"
                f" instruments and {', '.join(ours)} of accounts; make a scenario of each",
            )
        elif ours and made.when != When():
            self._wrong(
                given["when"],
                _within(where, "when"),
                f"expected none beside typologies of accounts ({', '.join(ours)}), found some; remove it, for no desk,"
                " venue, asset class or instrument is known of an account",
            )

    def _names(self, made: RuleFile, given: Mapping[str, tuple[yaml.Node, yaml.Node]]) -> None:
        seen: set[str] = set()
        for number, scenario in enumerate(made.scenarios):
            if scenario.name in seen:
                node = given["scenarios"][1].value[number]
                self._wrong(node, f"scenarios[{number}]", f"expected another name, found {scenario.name} again; rename")
            seen.add(scenario.name)

    # Values.

    def _value(self, node: yaml.Node, kind: inspect.Type, where: str) -> Any:
        """Return a value of a type; something of no use where it is wrong, which is noted."""
        kind, told = _plain(kind)
        if isinstance(kind, inspect.StructType):
            return self.struct(node, kind.cls, where)
        if isinstance(kind, inspect.DictType):
            if where == "typologies":
                return self._typologies(node, where)
            if where.endswith(".parameters"):
                return self._parameters(node, where)
            entries = self._entries(node, where, None, "entry")
            if not entries and isinstance(node, yaml.MappingNode) and kind.min_length:
                self._wrong(node, where, "expected at least one entry, found none; add `name: value`")
            for key, _ in entries.values():
                self._value(key, kind.key_type, where)
            return {
                name: self._value(value, kind.value_type, _within(where, name)) for name, (_, value) in entries.items()
            }
        if isinstance(kind, inspect.VarTupleType):
            if not isinstance(node, yaml.SequenceNode):
                self._wrong(node, where, f"expected a list, found {_found(node)}; write it in brackets: [one, another]")
                return ()
            return tuple(self._value(one, kind.item_type, f"{where}[{at}]") for at, one in enumerate(node.value))
        if not isinstance(node, yaml.ScalarNode):
            self._wrong(node, where, f"expected one value, found {_found(node)}; write it on its line")
            return None
        try:
            return _scalar(node, kind, told)
        except ValueError as error:
            self._wrong(node, where, f"expected {error}, found {_found(node)}; {_remedy(kind, told)}")
            return None


def _struct(kind: type[msgspec.Struct]) -> inspect.StructType:
    found = inspect.type_info(kind)
    assert isinstance(found, inspect.StructType)
    return found


def _plain(kind: inspect.Type) -> tuple[inspect.Type, Mapping[str, Any]]:
    """Return a type without None and without what was noted on it, and that."""
    if isinstance(kind, inspect.UnionType):
        kind = next(one for one in kind.types if not isinstance(one, inspect.NoneType))
    if not isinstance(kind, inspect.Metadata):
        return kind, {}
    return kind.type, (kind.extra_json_schema or {}) | (kind.extra or {})


def _scalar(node: yaml.ScalarNode, kind: inspect.Type, told: Mapping[str, Any]) -> Any:
    """Return what a scalar says, as it is written: `1.10` is a version, and no number, where a text is asked for.

    Raises
    ------
    ValueError
        It is none; the text says what was expected.
    """
    text: str = node.value
    quoted = node.style is not None
    if told.get("unit") == DURATION:
        return _duration(text)
    if told.get("unit") == TIME:
        return _time(text)
    if isinstance(kind, inspect.LiteralType):
        if text not in kind.values:
            raise ValueError(f"one of {', '.join(map(str, kind.values))}")
        return text
    if isinstance(kind, inspect.BoolType):
        if quoted or text not in ("true", "false"):
            raise ValueError("true or false")
        return text == "true"
    if isinstance(kind, inspect.StrType):
        longest = kind.max_length or len(text)
        fits = (kind.min_length or 0) <= len(text) <= longest and re.search(kind.pattern or "", text)
        if not fits or not text.isprintable() or (node.tag.endswith(":null") and not quoted):
            raise ValueError(told.get("told", f"a text of 1 to {kind.max_length} characters" if longest else "a text"))
        return text
    if isinstance(kind, inspect.IntType | inspect.FloatType):
        return _number("" if quoted else text, kind)
    raise ValueError("nothing that can be written here")


def _number(text: str, kind: inspect.IntType | inspect.FloatType) -> float:
    of_int = isinstance(kind, inspect.IntType)
    bounds = [(kind.gt, "above"), (kind.ge, "of at least"), (kind.lt, "below"), (kind.le, "of at most")]
    limits = " and ".join(f"{word} {bound:g}" for bound, word in bounds if bound is not None)
    what = " ".join(["a whole number" if of_int else "a number", limits]).strip()
    try:
        number = int(text) if of_int else float(text)
    except ValueError:
        raise ValueError(what) from None
    outside = (
        (kind.gt is not None and number <= kind.gt)
        or (kind.ge is not None and number < kind.ge)
        or (kind.lt is not None and number >= kind.lt)
        or (kind.le is not None and number > kind.le)
    )
    if outside or not math.isfinite(number) or abs(number) >= 2**63:
        raise ValueError(what)
    return number


def _duration(text: str) -> int:
    if not re.fullmatch(DURATION_PATTERN, text):
        raise ValueError(f"a duration with its unit ({', '.join(_UNITS_NS)})")
    number, unit = re.sub(r"([a-z])", r" \1", text, count=1).split()
    ns = Decimal(number) * _UNITS_NS[unit]
    if not 1 <= ns <= _LONGEST_NS or ns % 1:
        raise ValueError("a duration from 1 ns to 36500 d, in whole ns")
    return int(ns)


def _time(text: str) -> int:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("a time in ISO 8601") from None
    if found.utcoffset() != timedelta(0) or found.microsecond or found.year < 1970:
        raise ValueError("a time in UTC since 1970, in whole seconds, that ends with Z")
    return int(found.timestamp()) * _UNITS_NS["s"]


def _out_of_range(found: object, usual: object, unit: str) -> bool:
    """Tell whether a number is beyond what its unit allows, or not on the side of 0 on which its default is."""
    if isinstance(found, bool) or not isinstance(found, int | float) or not isinstance(usual, int | float):
        return False
    if found > MOST.get(unit, math.inf):
        return True
    return found <= 0 if usual > 0 else usual == 0 and found < 0


def _found(node: yaml.Node) -> str:
    if isinstance(node, yaml.ScalarNode):
        told = "".join(c if c.isprintable() else "?" for c in node.value)
        return (told if len(told) <= 60 else told[:57] + "...") or "nothing"
    return "a list" if isinstance(node, yaml.SequenceNode) else "entries"


def _one_of(known: Collection[str]) -> str:
    return f"one of {', '.join(known)}" if len(known) > 1 else f"only {next(iter(known))}"


def _meant(name: str, known: Collection[str] | None) -> str:
    close = difflib.get_close_matches(name, known or (), n=1)
    return f"{close[0]} is meant?" if close else "remove it, or correct its name"


def _remedy(kind: inspect.Type, told: Mapping[str, Any]) -> str:
    if "examples" in told:
        return f"write it as {told['examples'][0]}"
    return "correct it" if isinstance(kind, inspect.StrType) else "give one in range"


def _within(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name
