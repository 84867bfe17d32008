"""What analysts found: the last value counts, reviews stand for what was not drawn, intervals cover what is true."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from engines.backtest.field import known_ns
from engines.backtest.results import Parameters
from engines.dispositions import Quality, labels, latest, quality, share, total
from schemas.records import Disposition, Verdict


def found(
    episode: str, value: Verdict, *, at: int = 100, alert: bool = True, propensity: float = 1.0, account: str = ""
) -> Disposition:
    return Disposition(
        ts_event=at,
        episode_id=episode,
        alert_id=f"alert-{episode}" if alert else "",
        value=value,
        author="a",
        typology="spoofing@1",
        instrument="A.X",
        account=account,
        event_start=10,
        event_end=20,
        score=0.5,
        propensity=propensity,
    )


def test_the_last_value_counts_whatever_was_said_before() -> None:
    told = [found("a", "confirmed_risk"), found("b", "false_positive"), found("a", "false_positive", at=200)]
    assert [(one.episode_id, one.value) for one in latest(told)] == [("a", "false_positive"), ("b", "false_positive")]
    assert [(label.event_id, label.benign, label.known_ns) for label in labels(told)] == [
        ("a", True, 200),
        ("b", True, 100),
    ]


def test_labels_are_known_from_when_they_were_found_and_stand_for_what_was_not_drawn() -> None:
    told = [
        found("a", "valuable_alert", account="acc"),
        found("b", "duplicate"),
        found("c", "confirmed_risk", alert=False, propensity=0.1),
    ]
    one, other = labels(told)
    assert (one.benign, one.accounts, one.weight, one.typology) == (False, ["acc"], 1.0, "spoofing")
    assert other.weight == pytest.approx(10)
    parameters = Parameters(after_ns=30, label_delay_ns=10**9)
    assert known_ns(one, parameters) == 100, "not after a usual delay"
    assert known_ns(msgspec.structs.replace(one, known_ns=0), parameters) == 20 + 10**9
    assert known_ns(msgspec.structs.replace(one, known_ns=5), parameters) == 50, "not while an alarm may still catch it"


def test_without_reviews_nothing_is_said_of_recall() -> None:
    (row,) = quality([found("a", "confirmed_risk"), found("b", "false_positive"), found("c", "duplicate")], {}, {})
    assert row.precision == share(1, 2)
    assert (row.missed, row.recall) == (None, None)
    assert (row.episodes, row.found) == (3, {"confirmed_risk": 1, "false_positive": 1, "duplicate": 1})


def test_what_was_not_looked_at_is_taken_to_be_like_what_was() -> None:
    told = [found("a", "confirmed_risk"), found("b", "false_positive")]
    told += [found("c", "confirmed_risk", alert=False, propensity=0.1)]
    told += [found("d", "data_error", alert=False, propensity=0.1)]
    row, other = quality(told, {"spoofing": 40, "wash_trading": 7}, {"spoofing": 8})
    assert row.missed is not None
    assert row.recall is not None
    assert row.missed.value == pytest.approx(10 * 8 / 2)
    assert row.recall.value == pytest.approx(20 / (20 + 40))
    assert row.recall.low < row.recall.value < row.recall.high
    assert other == Quality(typology="wash_trading", episodes=7, reviews=0, found={})


def test_a_typology_that_never_was_right_has_no_recall_but_zero() -> None:
    told = [found("a", "false_positive"), found("c", "false_positive", alert=False, propensity=0.5)]
    (row,) = quality(told, {}, {})
    assert row.recall is not None
    assert (row.recall.value, row.recall.low, row.recall.high) == (0.0, 0.0, 1.0)


def test_intervals_of_weighted_sums_cover_the_truth_nineteen_times_in_twenty() -> None:
    rng = np.random.default_rng(1)
    propensity = rng.uniform(0.02, 0.2, 3_000)
    risk = rng.random(3_000) < 0.05
    covered = 0
    for _ in range(300):
        drawn = rng.random(3_000) < propensity
        told = total((1 / propensity[drawn & risk]).tolist(), float((1 / propensity).max()))
        covered += told.low <= risk.sum() <= told.high
    assert covered >= 0.94 * 300
