"""The gate before a promotion: a challenger holds what the policy guards, and is better at its target, or it waits."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from engines.backtest.results import Estimate
from engines.backtest.shadow import Shadowed
from schemas.alerts import Severity
from schemas.control import Check

NotNegative = Annotated[float, msgspec.Meta(ge=0)]


class Policy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a challenger must hold, and what it must be better at, to be promoted.

    | field | unit | meaning |
    |---|---|---|
    | severity | | episodes of at least this severity count |
    | days | days | how long both must have been heard |
    | labels | | how many harmful labels there must be |
    | alarms_a_day | share | by how much alarms a day may differ from the champion's, up or down |
    | recall_loss | | what recall may lose at worst, by the lower end of the difference's interval |
    | precision_loss | | the same of precision |
    | latency_p99 | share | by how much the 99th percentile of latency may be above the champion's |
    | backends | | whether only the back ends may compute it that compute the champion |
    | target | | what it must be better at; alarms_a_day: fewer, as far as the guard above lets it; log_loss: lower |
    | gain | | by how much: the lower end of the difference's interval is above it, alarms a day fall by more |
    """

    severity: Severity = "warning"
    days: NotNegative = 1.0
    labels: NotNegative = 10
    alarms_a_day: NotNegative = 0.2
    recall_loss: NotNegative = 0.05
    precision_loss: NotNegative = 0.05
    latency_p99: NotNegative = 0.1
    backends: bool = True
    target: Literal["recall", "precision", "alarms_a_day", "log_loss"] = "recall"
    gain: NotNegative = 0.0


def checks(found: Shadowed, policy: Policy) -> list[Check]:
    """Return every line of the gate, each with its figures; a challenger passes that passes all."""
    mine, theirs = found.champion, found.challenger
    lines = [
        Check(
            name="days",
            passed=found.days >= policy.days,
            told=f"both were heard for {found.days:.2f} days, expected {policy.days:g}",
        ),
        Check(
            name="labels",
            passed=found.harmful >= policy.labels,
            told=f"{found.harmful} harmful labels, expected {policy.labels:g}",
        ),
        Check(
            name="alarms a day",
            passed=abs(theirs.alarms - mine.alarms) <= policy.alarms_a_day * mine.alarms,
            told=f"{theirs.alarms_a_day:.2f}, the champion's {mine.alarms_a_day:.2f}, within {policy.alarms_a_day:.0%}",
        ),
        _held("recall", mine.recall, theirs.recall, found.recall_gain, policy.recall_loss),
        _held("precision", mine.precision, theirs.precision, found.precision_gain, policy.precision_loss),
        _latency(found, policy),
        *([_backends(found)] if policy.backends else []),
    ]
    match policy.target:
        case "alarms_a_day":
            gain = 1 - theirs.alarms / mine.alarms if mine.alarms else 0.0
            target = Check(
                name="target: fewer alarms",
                passed=gain > policy.gain,
                told=f"{gain:+.1%} fewer alarms, expected more than {policy.gain:.1%}",
            )
        case name:
            gains = {"recall": found.recall_gain, "precision": found.precision_gain, "log_loss": found.log_loss_gain}
            difference = gains[name]
            target = Check(
                name=f"target: {name}",
                passed=difference.low is not None and difference.low > policy.gain,
                told=f"gained {_told(difference)}, expected its lower end above {policy.gain:g}",
            )
    return [*lines, target]


def _held(name: str, mine: Estimate, theirs: Estimate, gain: Estimate, loss: float) -> Check:
    told = f"{_told(theirs)}, the champion's {_told(mine)}; gained {_told(gain)}, expected from {-loss:g} on"
    return Check(name=name, passed=gain.low is not None and gain.low >= -loss, told=told)


def _latency(found: Shadowed, policy: Policy) -> Check:
    mine_s, theirs_s = found.champion.latency_p99_s, found.challenger.latency_p99_s
    if mine_s is None or theirs_s is None:
        return Check(name="latency p99", passed=False, told="nobody knows: no alert came while both were live")
    told = f"{theirs_s * 1e3:,.0f} ms, the champion's {mine_s * 1e3:,.0f} ms, at most {policy.latency_p99:.0%} above"
    return Check(name="latency p99", passed=theirs_s <= mine_s * (1 + policy.latency_p99), told=told)


def _backends(found: Shadowed) -> Check:
    mine, theirs = found.champion.backends, found.challenger.backends
    told = f"computed by {', '.join(theirs) or 'none'}, the champion by {', '.join(mine) or 'none'}"
    # A back end that fails the challenger's parity gate does not serve it; another one does, and is named here.
    return Check(name="back ends", passed=set(theirs) <= set(mine), told=told)


def _told(estimate: Estimate) -> str:
    if estimate.value is None:
        return "unknown"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.3f} (no interval)"
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"
