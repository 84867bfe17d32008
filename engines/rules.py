"""Rules: what a compliance officer may change of how we judge, as typed values, and what follows from them.

A rule file changes thresholds and parameters of typologies, and weighs typologies into **scenarios** for some desks,
venues, classes of instruments or instruments, or for accounts. `engines.rule_text` reads one from YAML; here is what it
means.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, TypeVar

import msgspec

from engines.instruments import Listing
from engines.library import Scope, library, of_accounts
from engines.sessions import Session
from engines.typologies import TypologySpec
from schemas.alerts import Severity

DURATION, TIME = "duration", "time"
DURATION_PATTERN = r"^[0-9]+(\.[0-9]+)? *(ns|us|ms|s|min|h|d)$"
_MINUTE_NS = 60_000_000_000
#: A scenario's head and typology: this and its name.
PREFIX = "scenario_"
#: The typologies of labels that a desk makes itself (`engines.text_labels`), which a scenario may weigh too.
LABEL_PREFIX = "label_"

Duration = Annotated[
    int,
    msgspec.Meta(
        extra={"unit": DURATION},
        extra_json_schema={"type": "string", "pattern": DURATION_PATTERN, "examples": ["30 s", "5 min", "6 h", "2 d"]},
    ),
]
Time = Annotated[
    int,
    msgspec.Meta(
        extra={"unit": TIME},
        extra_json_schema={"type": "string", "format": "date-time", "examples": ["2026-12-01T08:00:00Z"]},
    ),
]
Score = Annotated[float, msgspec.Meta(ge=0, le=1)]
Budget = Annotated[float, msgspec.Meta(gt=0, le=1_000)]
Weight = Annotated[float, msgspec.Meta(gt=0, le=1)]
Name = Annotated[
    str,
    msgspec.Meta(pattern="^[a-z][a-z0-9_]{0,39}$", extra={"told": "up to 40 of a-z, 0-9 and _, a letter first"}),
]
Venue = Annotated[str, msgspec.Meta(pattern="^[A-Z0-9]{4}$", extra={"told": "a MIC (4 capital letters or digits)"})]
Version = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,39}$",
        extra={"told": "up to 40 letters, digits, dots, - and _"},
        extra_json_schema={"examples": ["2026-12-01"]},
    ),
]
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A part of a rule file; what is left out of it stays as it is."""


class Override(Part, frozen=True, kw_only=True):
    """Changes to one typology.

    ``open``, ``critical`` and ``close`` are scores in [0, 1]: an episode opens at ``open``, turns critical at
    ``critical`` and closes when scores stayed below ``close`` for ``hold``. ``severity`` is what it opens as. Where not
    ``enabled`` it raises no alert of its own; scenarios that weigh it still hear it. ``budget`` is how many episodes a
    day one instrument is to open: ``open`` is then where the threshold begins, and it follows (`engines.alert_budget`).
    ``parameters`` are the typology's own.
    """

    enabled: bool = True
    open: Score | None = None
    critical: Score | None = None
    close: Score | None = None
    hold_ns: Duration | None = msgspec.field(name="hold", default=None)
    severity: Severity | None = None
    budget: Budget | None = None
    parameters: dict[str, Any] = {}


class When(Part, frozen=True, kw_only=True):
    """For which instruments: all conditions must hold, one of each list is enough; an empty list asks nothing.

    ``desk``, ``venue`` (MIC) and ``asset_class`` are what the symbol master says of an instrument; ``instruments``
    are keys such as ACME.XTOC.
    """

    desk: tuple[Text, ...] = ()
    venue: tuple[Venue, ...] = ()
    asset_class: tuple[Text, ...] = ()
    instruments: tuple[Text, ...] = ()

    def holds(self, listing: Listing) -> bool:
        """Tell whether an instrument is meant.

        Example
        -------
        >>> When(venue=("XTOC",)).holds(Listing(instrument="ACME.XTOC", symbol="ACME", venue="XTOC"))
        True
        """
        asked = (
            (self.desk, listing.desk),
            (self.venue, listing.venue),
            (self.asset_class, listing.asset_class),
            (self.instruments, listing.instrument),
        )
        return all(not wanted or found in wanted for wanted, found in asked)


class Scenario(Part, frozen=True, kw_only=True):
    """Typologies that count together, each by its ``weights``: one alert where they add up.

    The score is 1 - Π (1 - weight × score) over the highest score of each typology ``within`` the time before: of one
    instrument, and of one account there where typologies tell accounts apart; or of one account, where all judge
    payments and statements. Both kinds in one are refused, as is a ``when`` with the second. Episodes open, turn
    critical and close as a typology's do; ``hold`` runs from the last moment above ``close``.
    """

    name: Name
    title: Text
    when: When = When()
    weights: Annotated[dict[str, Weight], msgspec.Meta(min_length=1)]
    within_ns: Duration = msgspec.field(name="within", default=30 * _MINUTE_NS)
    open: Score = 0.5
    critical: Score = 0.8
    close: Score = 0.25
    hold_ns: Duration = msgspec.field(name="hold", default=30 * _MINUTE_NS)
    severity: Severity = "warning"
    regulation: tuple[Text, ...] = ()
    enabled: bool = True

    @property
    def head(self) -> str:
        """What its track and typology are called."""
        return PREFIX + self.name

    @property
    def scope(self) -> Scope:
        """What it is judged at."""
        return "account" if self.weights.keys() <= of_accounts() else "instrument"

    def most(self) -> float:
        """Return the score when every typology's is 1."""
        left = 1.0
        for weight in self.weights.values():
            left *= 1.0 - weight
        return 1.0 - left

    def spec(self, version: str) -> TypologySpec:
        """Return how its scores become episodes.

        Raises
        ------
        ValueError
            Its thresholds are out of order, or beyond what its weights can reach.
        """
        if self.open > self.most():
            raise ValueError(f"{self.name}: expected open <= {self.most():.4g}, all that its weights reach together")
        return TypologySpec(
            name=self.head,
            version=version,
            title=self.title,
            regulation=self.regulation,
            open=self.open,
            critical=self.critical,
            close=self.close,
            hold_ns=self.hold_ns,
            opens_as=self.severity,
            momentary=True,
        )


class RuleFile(Part, frozen=True, kw_only=True):
    """Rules of one ``version``: a name for them that is given once, and that alerts of scenarios carry.

    ``effective_from`` is the event time at which they take effect, in whole seconds UTC; without it, at once.
    ``sessions`` are the hours of venues, by MIC, which marking the close and influencing the open ask for.
    """

    version: Version
    effective_ns: Time = msgspec.field(name="effective_from", default=0)
    typologies: dict[str, Override] = {}
    scenarios: tuple[Scenario, ...] = ()
    sessions: dict[Venue, Session] = {}

    @property
    def digest(self) -> str:
        """What stands for all that they decide, 32 hex digits: when they take effect is not among it."""
        decided = msgspec.structs.replace(self, effective_ns=0)
        return hashlib.sha256(msgspec.json.encode(decided, order="deterministic")).hexdigest()[:32]

    @property
    def silent(self) -> frozenset[str]:
        """The typologies that raise no alert of their own."""
        return frozenset(name for name, override in self.typologies.items() if not override.enabled)

    def budgets(self, specs: Mapping[str, TypologySpec]) -> dict[str, float]:
        """Return how many episodes a day an instrument is to open, by head, of typologies whose threshold follows."""
        told = {name: one.budget for name, one in self.typologies.items() if one.budget is not None}
        return {head: told[spec.name] for head, spec in specs.items() if spec.name in told}

    def asked(self, scope: Scope) -> tuple[Scenario, ...]:
        """Return the scenarios that are judged at instruments, or at accounts."""
        return tuple(scenario for scenario in self.scenarios if scenario.enabled and scenario.scope == scope)

    def applying(self, listing: Listing) -> tuple[Scenario, ...]:
        """Return the scenarios that are for an instrument."""
        return tuple(scenario for scenario in self.asked("instrument") if scenario.when.holds(listing))

    def heard(self, specs: Mapping[str, TypologySpec]) -> dict[str, TypologySpec]:
        """Return the typologies by head as these rules have them, silent ones left out."""
        return {head: overridden(spec, self) for head, spec in specs.items() if spec.name not in self.silent}

    def specs(self, specs: Mapping[str, TypologySpec], scope: Scope) -> dict[str, TypologySpec]:
        """Return a scope's typologies by head as these rules have them, silent ones left out, scenarios among them."""
        return self.heard(specs) | {one.head: one.spec(self.version) for one in self.asked(scope)}


NONE = RuleFile(version="none")
Config = TypeVar("Config", bound=msgspec.Struct)


def overridden(spec: TypologySpec, rules: RuleFile) -> TypologySpec:
    """Return a typology as the rules have it.

    Raises
    ------
    ValueError
        Its thresholds would be out of order.

    Example
    -------
    >>> spec = library()["pump_and_dump"].spec
    >>> overridden(spec, RuleFile(version="1", typologies={"pump_and_dump": Override(open=0.6)})).open
    0.6
    """
    override = rules.typologies.get(spec.name)
    if override is None:
        return spec
    asked = {
        "open": override.open,
        "critical": override.critical,
        "close": override.close,
        "hold_ns": override.hold_ns,
        "opens_as": override.severity,
    }
    return msgspec.structs.replace(spec, **{name: value for name, value in asked.items() if value is not None})


def configured(config: Config, rules: RuleFile) -> Config:
    """Return a configuration in which the parameters of every typology, however deep, are as the rules have them.

    Example
    -------
    >>> from engines.ticks import TickConfig
    >>> rules = RuleFile(version="1", typologies={"pump_and_dump": Override(parameters={"rise": 0.05})})
    >>> configured(TickConfig(), rules).pump.rise
    0.05
    """
    changes: dict[str, object] = {}
    for name, known in library().items():
        if known.config is type(config) and name in rules.typologies:
            changes.update(rules.typologies[name].parameters)
    for name in config.__struct_fields__:
        value = getattr(config, name)
        if isinstance(value, msgspec.Struct) and (found := configured(value, rules)) is not value:
            changes.setdefault(name, found)
    return msgspec.structs.replace(config, **changes) if changes else config


def parameters(rules: RuleFile, name: str, asset_class: str = "") -> Iterator[tuple[str, object, object]]:
    """Yield a typology's parameters as the rules have them for an asset class: field, value, default."""
    known = library()[name]
    if known.config is None:
        return
    default = known.of_class.get(asset_class) or known.config()
    mine = configured(default, rules)
    for field in known.config.__struct_fields__:
        yield field, getattr(mine, field), getattr(default, field)
