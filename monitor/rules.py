"""Rule files on disk: read with one sentence a mistake, and two of them compared in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path

import msgspec

from engines.instruments import SymbolMaster
from engines.library import library
from engines.rule_text import RulesError, duration, read, written
from engines.rules import NONE, RuleFile, Scenario, overridden, parameters
from engines.typologies import TypologySpec
from monitor.errors import StartupError
from monitor.render import clock
from monitor.rulebook import NO_RULES
from schemas.journal import Rules


def read_rules(path: Path) -> tuple[str, RuleFile]:
    """Return a rule file's text, and what it says.

    Raises
    ------
    StartupError
        It cannot be read, or has mistakes: a sentence each, with line and column.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise StartupError(f"{path} cannot be read ({error}): expected rules in YAML.") from error
    try:
        return text, read(text)
    except RulesError as error:
        raise StartupError("\n".join(mistakes(path, error))) from error


def load_rules(path: Path | None) -> Rules:
    """Return the rules that the monitor is started with, as journals hold them; none where there is no file.

    Raises
    ------
    StartupError
        It cannot be read, or has mistakes.
    """
    if path is None:
        return NO_RULES
    text, rules = read_rules(path)
    return Rules(rules.effective_ns, -1, text)


@lru_cache(16)
def rules_of(told: Rules) -> RuleFile:
    """Return what rules in a journal say, in effect when it says so.

    Raises
    ------
    RulesError
        This release cannot read them.
    """
    return msgspec.structs.replace(read(told.text) if told.text else NONE, effective_ns=told.effective_ns)


class InEffect(msgspec.Struct, frozen=True, kw_only=True):
    """Rules as /readyz and `tocsin rules show` tell of them.

    ``digest`` is the one that alert ids hash; ``since`` is event time, "" from the beginning.
    """

    version: str
    digest: str
    since: str


def in_effect(told: Rules) -> InEffect:
    """Return what is told of rules that a journal or the control topic holds.

    Example
    -------
    >>> in_effect(Rules(12_000_000_000, 0, "version: a")).since
    '1970-01-01T00:00:12Z'
    """
    rules, since_ns = rules_of(told), told.effective_ns
    return InEffect(
        version=rules.version,
        digest=rules.digest if told.text else "",
        since=clock(since_ns, "%Y-%m-%dT%H:%M:%SZ") if since_ns else "",
    )


def mistakes(path: Path, error: RulesError) -> list[str]:
    """Return a sentence on each mistake, as compilers and editors write places."""
    return [
        f"{path}:{one.line}:{one.column}: {one.text}{'' if one.text.endswith('?') else '.'}" for one in error.problems
    ]


def idle(rules: RuleFile, master: SymbolMaster) -> list[str]:
    """Return a sentence on each scenario of instruments that is for none of a symbol master."""
    listings = [master.listing(name) for name in master.listings]
    return [
        f"scenario {scenario.name} is for none of the {len(listings)} instruments of the symbol master: is every desk,"
        " venue, asset_class and instrument in its `when` written as there?"
        for scenario in rules.asked("instrument")
        if not any(map(scenario.when.holds, listings))
    ]


def effect(rules: RuleFile) -> str:
    """Return when rules take effect, in words."""
    return f"from {clock(rules.effective_ns)} UTC of event time" if rules.effective_ns else "at once"


def thresholds(spec: TypologySpec) -> dict[str, str]:
    """Return thresholds as rule files have them."""
    return {
        "open": f"{spec.open:g}",
        "critical": f"{spec.critical:g}",
        "close": f"{spec.close:g}",
        "hold": duration(spec.hold_ns),
        "severity": spec.opens_as,
    }


def typology(rules: RuleFile, name: str, asset_class: str = "") -> dict[str, str]:
    """Return all that rules can set of a typology, as they have it for an asset class."""
    alerts = "no" if name in rules.silent else "yes"
    own = dict(written(field, value) for field, value, _ in parameters(rules, name, asset_class))
    override = rules.typologies.get(name)
    budget = f"{override.budget:g} a day" if override and override.budget else "none"
    return {"enabled": alerts} | thresholds(overridden(library()[name].spec, rules)) | {"budget": budget} | own


def scenario(one: Scenario) -> dict[str, str]:
    """Return all that a scenario says, as rule files have it."""
    asked = {name: getattr(one.when, name) for name in one.when.__struct_fields__}
    return {
        "title": one.title,
        "when": "; ".join(f"{name} {', '.join(any_)}" for name, any_ in asked.items() if any_) or f"every {one.scope}",
        "weights": ", ".join(f"{name} × {weight:g}" for name, weight in one.weights.items()),
        "within": duration(one.within_ns),
        **thresholds(one.spec("any")),
        "regulation": "; ".join(one.regulation),
        "enabled": "yes" if one.enabled else "no",
    }


def changes(old: RuleFile, new: RuleFile) -> Iterator[str]:
    """Yield what differs between two rule files, a sentence each."""
    for name in library():
        yield from _differ(name, typology(old, name), typology(new, name))
    before, after = ({one.name: one for one in rules.scenarios} for rules in (old, new))
    for name in sorted(before.keys() | after.keys()):
        if name not in before:
            yield f"scenario {name} is new: {'; '.join(f'{k} {v}' for k, v in scenario(after[name]).items() if v)}"
        elif name not in after:
            yield f"scenario {name} is gone; its open episodes close"
        else:
            yield from _differ(f"scenario {name}", scenario(before[name]), scenario(after[name]))
    for venue in sorted(old.sessions.keys() | new.sessions.keys()):
        yield from _differ(f"session of {venue}", hours(old, venue), hours(new, venue))


def hours(rules: RuleFile, venue: str) -> dict[str, str]:
    """Return when a venue is open, as far as rules say it."""
    session = rules.sessions.get(venue)
    return {"hours": f"{session.open} to {session.close} {session.zone}" if session else ""}


def _differ(name: str, before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[str]:
    for field, value in after.items():
        if value != before[field]:
            yield f"{name}: {field} {before[field] or 'nothing'} → {value or 'nothing'}"


def ids(old: RuleFile, new: RuleFile) -> str:
    """Say which alert ids change where new rules follow old ones."""
    if old.digest == new.digest:
        return "No alert id changes: both decide alike, under the same version."
    return (
        f"Every episode that opens under them has another id, at every instrument: the rules' digest is part of it,"
        f" {old.digest[:12]}… before, {new.digest[:12]}… after. Episodes that are open keep theirs."
    )
