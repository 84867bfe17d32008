"""Scenarios: typologies that count together, at an instrument and at accounts in it, or at an account of payments.

    score = 1 - Π (1 - weight × peak)        over the typologies that the scenario weighs

A **peak** is a typology's highest score in the time ``within`` which it counts. Where each typology, were its score a
probability and its weight the chance that it matters, were an independent cause, that is the chance of at least one
(noisy or; Pearl, Probabilistic Reasoning in Intelligent Systems, 4.3.2). It rises with every score and weight; what
is absent takes nothing away. It is asked at each moment at which one of the typologies scores more than 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from engines.rules import Scenario
from engines.tracks import Seen
from engines.typologies.conditions import clearing
from schemas.alerts import Explanation, RuleResult

#: Falling scores that are remembered of one typology; the lowest of more are forgotten.
STEPS = 16
#: Accounts of one instrument that are remembered, those that were heard of last.
ACCOUNTS = 64


class Moment(NamedTuple):
    """A typology's score above 0 at a time (ns), of an account or ("") of the instrument as a whole.

    ``inputs`` are those that it stands on.
    """

    ts: int
    typology: str
    account: str
    score: float
    available: int = 0
    inputs: tuple[Seen, ...] = ()


class Step(NamedTuple):
    """A score at a time (ns), and the inputs that it stands on."""

    ts: int
    score: float
    inputs: tuple[Seen, ...] = ()


#: There is none.
NOTHING = Step(0, 0.0)


class Peaks(msgspec.Struct):
    """The scores of one instrument or account that may still be its highest, falling, by typology."""

    newest_ns: int = -(2**63)
    steps: dict[str, list[Step]] = {}

    def add(self, ts: int, typology: str, score: float, inputs: tuple[Seen, ...] = ()) -> None:
        """Take a score in."""
        self.newest_ns = max(self.newest_ns, ts)
        steps = self.steps.get(typology)
        if steps is None:
            self.steps[typology] = [Step(ts, score, inputs)]
            return
        while steps and steps[-1].score <= score:
            steps.pop()
        steps.append(Step(max(ts, steps[-1].ts) if steps else ts, score, inputs))
        del steps[STEPS:]

    def forget(self, before_ns: int) -> None:
        """Let go of what is as old as ``before_ns``, or older."""
        for typology, steps in list(self.steps.items()):
            while steps and steps[0].ts <= before_ns:
                del steps[0]
            if not steps:
                del self.steps[typology]

    def peak(self, typology: str, after_ns: int) -> Step:
        """Return the highest score of a typology after a time, `NOTHING` where there is none."""
        for step in self.steps.get(typology, ()):
            if step.ts > after_ns:
                return step
        return NOTHING


#: What is kept of an instrument, or of an account apart from any: its own under "", its accounts' under their names.
Kept = dict[str, Peaks]


class Judged(NamedTuple):
    """A scenario's score at a time (ns), for an account or (""), and the peaks that it is made of.

    ``inputs`` are those that the peaks stand on, by typology.
    """

    ts: int
    account: str
    score: float
    peaks: tuple[float, ...]
    available: int = 0
    inputs: tuple[tuple[Seen, ...], ...] = ()


def score(weights: Sequence[float], peaks: Sequence[float]) -> float:
    """Return a scenario's score, in [0, 1].

    Example
    -------
    >>> round(score([0.5, 0.8], [1.0, 0.5]), 2)
    0.7
    """
    left = 1.0
    for weight, peak in zip(weights, peaks, strict=True):
        left *= 1.0 - weight * peak
    return 1.0 - left


def judge(scenarios: Sequence[Scenario], kept: Kept, moments: Sequence[Moment]) -> list[list[Judged]]:
    """Take moments in, in order of time, and return what each scenario says at those of its typologies.

    A moment that comes behind a later one counts as of that one's time.
    """
    weighed = [(s.within_ns, tuple(s.weights), tuple(s.weights.values())) for s in scenarios]
    longest_ns = max((s.within_ns for s in scenarios), default=0)
    found: list[list[Judged]] = [[] for _ in scenarios]
    for ts, typology, account, value, available, inputs in moments:
        own = kept.get(account)
        if own is None:
            own = kept[account] = Peaks()
        own.add(ts, typology, value, inputs)
        now_ns = own.newest_ns
        # What the instrument as a whole shows concerns each of its accounts.
        for of in (account,) if account else tuple(kept):
            for (within_ns, names, weights), said in zip(weighed, found, strict=True):
                if typology in names:
                    found_of = _peaks(kept, of, names, now_ns - within_ns)
                    if found_of:
                        peaks = tuple([step.score for step in found_of])
                        named = tuple([step.inputs for step in found_of])
                        said.append(Judged(now_ns, of, score(weights, peaks), peaks, available, named))
        if len(kept) > ACCOUNTS + 1:
            del kept[min((one.newest_ns, name) for name, one in kept.items() if name)[1]]
    for account, one in list(kept.items()):
        one.forget(one.newest_ns - longest_ns)
        if not one.steps:
            del kept[account]
    return found


def explain(scenario: Scenario, judged: Judged) -> Explanation:
    """Say what each typology brought, and the smallest fall of one of them that would clear the alert."""
    rules = [RuleResult(name="scenario", value=judged.score, threshold=scenario.open, unit="score")]
    rules += [
        RuleResult(name=name, value=peak, threshold=0.0, unit="score", weight=weight)
        for (name, weight), peak in zip(scenario.weights.items(), judged.peaks, strict=True)
    ]
    return Explanation(rules=rules, clears=_clears(scenario, judged))


def _clears(scenario: Scenario, judged: Judged) -> str:
    options: list[tuple[float, str]] = []
    for (name, weight), peak in zip(scenario.weights.items(), judged.peaks, strict=True):
        others = _without(scenario, judged, name)
        least = (1.0 - (1.0 - scenario.open) / others) / weight if others > 0.0 else -1.0
        if 0.0 < least <= peak:
            options.append((peak - least, f"{name} below {clearing(least)}"))
    if options:
        return min(options)[1]
    return f"all of {', '.join(scenario.weights)} lower: no single one of them is enough"


def _without(scenario: Scenario, judged: Judged, name: str) -> float:
    left = 1.0
    for (other, weight), peak in zip(scenario.weights.items(), judged.peaks, strict=True):
        if other != name:
            left *= 1.0 - weight * peak
    return left


def _peaks(kept: Mapping[str, Peaks], account: str, names: Sequence[str], after_ns: int) -> tuple[Step, ...]:
    """Return the peaks that count for an account, its own and the instrument's; none where it has none of its own."""
    own, whole = kept[account], kept.get("")
    peaks = tuple([own.peak(name, after_ns) for name in names])
    if not any(peak.score for peak in peaks):
        return ()
    if not account or whole is None:
        return peaks
    both = ((peak, whole.peak(name, after_ns)) for name, peak in zip(names, peaks, strict=True))
    return tuple([mine if mine.score >= other.score else other for mine, other in both])
