"""A counterparty's statements: who rings and when, what is said of it, and what cannot be scored."""

from __future__ import annotations

import re

import msgspec
import numpy as np
import pytest

from engines.credit import STATEMENT, columns_of
from engines.statements import FIELDS, Rating, StatementEngine, StatementUpdate
from engines.typologies.counterparty_default import CounterpartyConfig
from schemas.alerts import Explanation
from schemas.records import Statement
from tests.statements import OWES, PAYS, model, statement

CONFIG = CounterpartyConfig()


def applied(rating: Rating, one: Statement, *, models: bool = True) -> StatementUpdate:
    return StatementEngine(CONFIG, model()).apply(rating, one, models=models)


def score(update: StatementUpdate) -> float:
    assert update.refused == ""
    return float(update.track.score[0]) if update.track else 0.0


def explained(update: StatementUpdate) -> Explanation:
    assert update.track is not None
    return update.track.explain(0)


def probability(one: Statement) -> float:
    return float(model().probability(columns_of(one))[0])


def test_who_pays_is_quiet_and_who_stops_paying_rings() -> None:
    rating = Rating()
    assert score(applied(rating, statement(0, PAYS))) == 0.0
    low = rating.first
    assert low == probability(statement(0, PAYS)) < 0.15
    assert score(applied(rating, statement(1, OWES))) > 0.5
    assert (rating.first, rating.newest_ns) == (low, statement(1, OWES).ts_event)


def test_who_was_never_low_rings_by_the_level_until_it_is_and_then_by_the_rise_too() -> None:
    rating = Rating()
    assert score(applied(rating, statement(0, OWES))) > 0.5
    assert rating.first == 0.0
    assert score(applied(rating, statement(1, OWES))) > 0.5
    applied(rating, statement(2, PAYS))
    assert len(explained(applied(rating, statement(3, OWES))).rules) == 2 + len(FIELDS)
    assert [rule.name for rule in explained(applied(rating, statement(4, OWES))).rules[:2]] == [
        "probability of default",
        "rise since first",
    ]


@pytest.mark.parametrize(
    ("changes", "models", "reason"),
    [
        ({}, False, "rules_only"),
        ({"currency": "EUR"}, True, "other_currency"),
        ({"ts_event": statement(0, PAYS).ts_event}, True, "late_or_twice"),
    ],
)
def test_what_cannot_be_scored_says_why_and_changes_nothing(
    changes: dict[str, object], models: bool, reason: str
) -> None:
    rating = Rating()
    applied(rating, statement(0, PAYS))
    before = msgspec.structs.replace(rating)
    update = applied(rating, statement(1, OWES, **changes), models=models)
    assert update == StatementUpdate(refused=f"{reason}: counterparty_default")
    assert (rating.first, rating.newest_ns) == (before.first, before.newest_ns)
    assert rating.late == (reason == "late_or_twice")


def test_without_a_model_in_the_bundle_nothing_is_scored_and_that_is_said() -> None:
    rating = Rating()
    update = StatementEngine(CONFIG, None).apply(rating, statement(0, OWES), models=True)
    assert update == StatementUpdate(refused="no_credit_model: counterparty_default")
    assert rating == Rating()


def test_the_explanation_weighs_every_field_and_quotes_it() -> None:
    found = explained(applied(Rating(), statement(0, OWES)))
    level, *shares = found.rules
    assert level.value == pytest.approx(probability(statement(0, OWES)))
    assert level.threshold == CONFIG.probability
    assert {rule.name: rule.unit for rule in shares} == {f"share_of_{field}": "log odds" for field in FIELDS}
    assert found.attributions[0].locator == "field delays"
    assert found.attributions[0].excerpt == "3 2 2 0 0 0"
    weights = [abs(one.weight) for one in found.attributions]
    assert weights == sorted(weights, reverse=True)


def test_the_change_that_it_names_clears_it() -> None:
    one = statement(0, OWES)
    clears = explained(applied(Rating(), one)).clears
    assert clears.startswith("probability of default below 0.3 (probability; it was")
    delays, paid = list(one.delays), list(one.paid)
    changed = clears.partition("; with ")[2]
    for month in re.findall(r"delays\[(\d)] at 0", changed):
        delays[int(month)] = 0
    if due := re.search(r"paid\[0] at ([\d.]+)", changed):
        paid[0] = float(due[1])
    told = probability(msgspec.structs.replace(one, delays=delays, paid=paid))
    assert told < CONFIG.probability
    assert clears.endswith(f"it would have been {told:.4g}")


def test_neither_names_nor_the_time_change_a_score() -> None:
    plain = applied(Rating(), statement(0, OWES)).track
    other = applied(Rating(), statement(7, OWES, account="Zoë", statement_id="x")).track
    assert plain is not None
    assert other is not None
    assert plain.score.tobytes() == other.score.tobytes()
    assert plain.explain(0) == other.explain(0)


def test_what_decides_is_the_model_and_the_parameters() -> None:
    digests = {
        StatementEngine(config, of).digest()
        for config in (CONFIG, CounterpartyConfig(rise=3.0))
        for of in (model(), None)
    }
    assert len(digests) == 4


def test_no_statement_says_who_somebody_is() -> None:
    asked = {*Statement.__struct_fields__, *STATEMENT}
    barred = "SEX|AGE|MARRIAGE|EDUCATION|FOREIGN|citizen|gender|birth"
    assert not [name for name in asked if re.search(barred, name, re.I)]


def test_a_row_has_the_bits_that_it_has_alone() -> None:
    rows = [statement(0, PAYS), statement(0, OWES), statement(0, PAYS, limit=50_000.0)]
    columns = [columns_of(one) for one in rows]
    together = model().log_odds({name: np.concatenate([one[name] for one in columns]) for name in STATEMENT})
    assert together.tobytes() == np.concatenate([model().log_odds(one) for one in columns]).tobytes()
