"""What a statement says of a counterparty: its probability of default, what moves it, and what would bring it down.

    statement ─► model of default ─► counterparty_default: the level, and the rise since the first statement heard

The first statement below the level sets what later ones are held against: who was likely to default when first heard of
rings until it no longer is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from engines.credit import TAIWAN_BILLS, TAIWAN_DELAYS, TAIWAN_PAYMENTS, columns_of
from engines.credit_model import CreditModel
from engines.tracks import Track
from engines.typologies import TypologySpec, conditions, counterparty_default
from engines.typologies.conditions import LEAST_SCORE
from engines.typologies.counterparty_default import CounterpartyConfig, Evidence, measure
from schemas.alerts import Attribution, Explanation, RuleResult
from schemas.records import Statement

Columns = Mapping[str, npt.NDArray[np.float64]]
HEAD = counterparty_default.SPEC.name
SPECS: dict[str, TypologySpec] = {HEAD: counterparty_default.SPEC}
#: What a statement holds, by the record's fields: the columns of each.
FIELDS: Mapping[str, tuple[str, ...]] = {
    "delays": TAIWAN_DELAYS,
    "billed": TAIWAN_BILLS,
    "paid": TAIWAN_PAYMENTS,
    "limit": ("LIMIT_BAL",),
}


class Rating(msgspec.Struct, array_like=True):
    """What is kept of a counterparty: its probability of default at ``first``, and its newest statement's time, ns.

    Both are 0 where there is none yet. ``late`` counts statements that were older than the newest, or came twice.
    """

    first: float = 0.0
    newest_ns: int = 0
    late: int = 0


class StatementUpdate(NamedTuple):
    """What came of a statement: a track, unless its score changes no episode, or why it could not be ``refused``."""

    track: Track | None = None
    refused: str = ""


class StatementEngine:
    """The typology with its parameters, and the bundle's model of default, None where the bundle has none."""

    def __init__(self, config: CounterpartyConfig, model: CreditModel | None) -> None:
        self._config = config
        self._model = model

    def digest(self) -> str:
        """Return all that decides, as a string."""
        own = msgspec.json.encode([self._config, SPECS], order="deterministic").hex()
        return f"{own} {self._model.digest if self._model else ''}"

    def apply(self, rating: Rating, statement: Statement, *, models: bool) -> StatementUpdate:
        """Score a statement and bring its counterparty's ``rating`` up to date; ``models`` tells whether any is asked.

        What cannot be scored is not: it says why, and changes nothing.
        """
        if not models:
            return StatementUpdate(refused=f"rules_only: {HEAD}")
        if self._model is None:
            return StatementUpdate(refused=f"no_credit_model: {HEAD}")
        if statement.currency != self._model.spec.currency:
            return StatementUpdate(refused=f"other_currency: {HEAD}")
        if statement.ts_event <= rating.newest_ns:
            rating.late += 1
            return StatementUpdate(refused=f"late_or_twice: {HEAD}")
        columns = columns_of(statement)
        evidence = Evidence(self._model.probability(columns).item(), rating.first)
        rating.newest_ns = statement.ts_event
        if not rating.first and evidence.probability < self._config.probability:
            rating.first = evidence.probability
        found = conditions.score(measure(self._config, evidence))
        if found < LEAST_SCORE:  # the hold runs from the last moment that was high enough: a lower one changes nothing
            return StatementUpdate()
        model = self._model
        return StatementUpdate(
            Track(
                head=HEAD,
                ts_event=np.array([statement.ts_event], np.int64),
                ts_available=np.array([statement.ts_available], np.int64),
                score=np.array([found]),
                window_start=np.array([statement.ts_event], np.int64),
                explain=lambda _: explain(self._config, model, statement, evidence),
            )
        )


def explain(config: CounterpartyConfig, model: CreditModel, statement: Statement, evidence: Evidence) -> Explanation:
    """Return the conditions, what each field adds to the log odds, and the smallest change that would have cleared it.

    A field's share is what the log odds would be lower by, were the field that of the median of those who paid.
    """
    columns = columns_of(statement)
    whole = model.log_odds(columns).item()
    told = conditions.explain(measure(config, evidence))
    shares = {field: whole - model.log_odds(_typical(model, columns, field)).item() for field in FIELDS}
    found = {field: getattr(statement, field) for field in FIELDS}
    return msgspec.structs.replace(
        told,
        rules=[
            *told.rules,
            *(
                RuleResult(name=f"share_of_{field}", value=share, threshold=0.0, unit="log odds")
                for field, share in shares.items()
            ),
        ],
        attributions=[
            Attribution(topic="statements", locator=f"field {field}", weight=share, excerpt=_excerpt(found[field]))
            for field, share in sorted(shares.items(), key=lambda one: -abs(one[1]))
        ],
        clears=f"{told.clears}; {_change(model, columns, below=max(config.probability, config.rise * evidence.first))}",
    )


def _typical(model: CreditModel, columns: Columns, field: str) -> Columns:
    """Return the columns with one field's as those of the median payer."""
    limit = columns["LIMIT_BAL"] if field in ("billed", "paid") else 1.0
    return {**columns, **{name: model.spec.typical[name] * limit + 0.0 * columns[name] for name in FIELDS[field]}}


def _change(model: CreditModel, columns: Columns, *, below: float) -> str:
    """Return the fewest of delays and payments with which the probability would have been ``below``, and what then.

    One after the other, each time the one that brings it down most.
    """
    left, made = dict(_changes(columns)), list[str]()
    now, told = columns, model.probability(columns).item()
    while left and told >= below:
        tried = {name: {**now, column: value} for name, (column, value) in left.items()}
        chances = {name: model.probability(one).item() for name, one in tried.items()}
        best = min(chances, key=chances.__getitem__)
        if chances[best] >= told:
            break
        now, told = tried[best], chances[best]
        made.append(best)
        del left[best]
    if not made:
        return "no delay or payment of these months would have brought it down"
    reached = "it would have been" if told < below else "it would still have been"
    return f"with {', '.join(made)} {reached} {told:.4g}"


def _changes(columns: Columns) -> Iterator[tuple[str, tuple[str, npt.NDArray[np.float64]]]]:
    """Yield what could have been otherwise: each month that was late on time, and the last bill paid in full."""
    for months, name in enumerate(TAIWAN_DELAYS):
        if columns[name].item() > 0:
            yield f"delays[{months}] at 0", (name, np.zeros(1))
    due, paid = columns[TAIWAN_BILLS[1]], columns[TAIWAN_PAYMENTS[0]]
    if (due > paid).all():
        yield f"paid[0] at {due.item():.6g}", (TAIWAN_PAYMENTS[0], due)


def _excerpt(value: float | list[float] | list[int]) -> str:
    return " ".join(f"{one:.6g}" for one in (value if isinstance(value, list) else [value]))
