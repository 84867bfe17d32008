"""What analysts found: as labels to learn from, and as estimates of how good alerts are.

Analysts look at alerts, and so what they find says nothing of what never rang (selection bias). A **review** is a
window below the threshold that was drawn by chance, with a known propensity: each that was found to be a risk stands
for 1 / propensity such windows (D. G. Horvitz & D. J. Thompson 1952, *A generalization of sampling without replacement
from a finite universe*). The sum of such weights has the interval of M. P. Fay & E. J. Feuer 1997 (*Confidence
intervals for directly standardized rates*, a gamma's), which says something of zero risks among few reviews too.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from engines.labels import Label
from schemas.records import Disposition, Verdict

#: What of an alert is a risk.
RISKS: frozenset[Verdict] = frozenset({"confirmed_risk", "valuable_alert"})
#: Normal quantile of the intervals: 95 %.
Z = 1.959964


class Range(NamedTuple):
    """A figure with its interval of 95 %."""

    value: float
    low: float
    high: float


class Quality(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a typology: episodes and reviews there were, what was found of them, and what follows.

    ``precision`` is the share of risks among episodes that were looked at, duplicates left out. ``missed`` is how many
    windows below the threshold were a risk, ``recall`` the share of risks that rang; None where nothing was looked at.
    """

    typology: str
    episodes: int
    reviews: int
    found: dict[Verdict, int]
    precision: Range | None = None
    missed: Range | None = None
    recall: Range | None = None


def name_of(found: Disposition) -> str:
    """Return the typology without its version."""
    return found.typology.partition("@")[0]


def latest(found: Iterable[Disposition]) -> list[Disposition]:
    """Return of each episode what was found last, in the order in which episodes were first looked at."""
    return list({one.episode_id: one for one in found}.values())


def labels(found: Iterable[Disposition]) -> list[Label]:
    """Return what was found last as labels: risks, and as benign what was none; a duplicate is its original's.

    Each is known from when it was found on, and weighs 1 / propensity.
    """
    return [
        Label(
            event_id=one.episode_id,
            typology=name_of(one),
            start_ns=one.event_start,
            onset_ns=one.event_start,
            end_ns=one.event_end,
            instruments=[one.instrument],
            accounts=[one.account] if one.account else [],
            benign=one.value not in RISKS,
            known_ns=one.ts_event,
            weight=1 / one.propensity,
        )
        for one in latest(found)
        if one.value != "duplicate"
    ]


def quality(found: Iterable[Disposition], episodes: Mapping[str, int], reviews: Mapping[str, int]) -> list[Quality]:
    """Return what is known of each typology, by name.

    What was not looked at is taken to be like what was: of alerts, and of reviews.

    Parameters
    ----------
    episodes, reviews
        How many there were of a typology. Where fewer than were looked at, these count.
    """
    mine: dict[str, list[Disposition]] = {}
    for one in latest(found):
        mine.setdefault(name_of(one), []).append(one)
    return [
        _quality(name, mine.get(name, []), episodes.get(name, 0), reviews.get(name, 0))
        for name in sorted({*mine, *episodes, *reviews})
    ]


def _quality(name: str, found: Sequence[Disposition], episodes: int, reviews: int) -> Quality:
    rang = [one for one in found if one.alert_id]
    drawn = [one for one in found if not one.alert_id]
    told = Quality(
        typology=name,
        episodes=max(episodes, len(rang)),
        reviews=max(reviews, len(drawn)),
        found=dict(Counter(one.value for one in found)),
    )
    judged = [one.value in RISKS for one in rang if one.value != "duplicate"]
    precision = share(sum(judged), len(judged)) if judged else None
    looked = [one for one in drawn if one.value != "duplicate"]
    if not looked:
        return msgspec.structs.replace(told, precision=precision)
    scale = told.reviews / len(drawn)
    weights = [scale / one.propensity for one in looked]
    risks = [weight for weight, one in zip(weights, looked, strict=True) if one.value in RISKS]
    missed = total(risks, max(weights))
    if precision is None:
        return msgspec.structs.replace(told, missed=missed)
    # Of alerts that were no duplicates; bounds of both together, so that the interval is rather too wide.
    original = told.episodes * len(judged) / len(rang)
    caught = Range(*(original * bound for bound in precision))
    recall = Range(_part(caught.value, missed.value), _part(caught.low, missed.high), _part(caught.high, missed.low))
    return msgspec.structs.replace(told, precision=precision, missed=missed, recall=recall)


def _part(caught: float, missed: float) -> float:
    return caught / (caught + missed) if caught else 0.0


def share(hits: int, of: int) -> Range:
    """Return a share with its interval (E. B. Wilson 1927, *Probable inference*).

    Example
    -------
    >>> [round(bound, 3) for bound in share(8, 10)]
    [0.8, 0.49, 0.943]
    """
    observed, squared = hits / of, Z * Z / of
    middle = (observed + squared / 2) / (1 + squared)
    half = Z * math.sqrt(observed * (1 - observed) / of + squared / (4 * of)) / (1 + squared)
    return Range(observed, max(0.0, middle - half), min(1.0, middle + half))


def total(weights: Sequence[float], most: float) -> Range:
    """Return a sum of weights with its interval, ``most`` being the greatest that one could have had.

    Example
    -------
    >>> [round(bound, 1) for bound in total([], most=10.0)]
    [0.0, 0.0, 36.7]
    """
    whole, square = math.fsum(weights), sum(weight * weight for weight in weights)
    low = square / (2 * whole) * _chi_square(-Z, 2 * whole * whole / square) if whole else 0.0
    wider, more = square + most * most, whole + most
    return Range(whole, low, wider / (2 * more) * _chi_square(Z, 2 * more * more / wider))


def _chi_square(z: float, degrees: float) -> float:
    """Return chi-square's quantile at a normal quantile (E. B. Wilson & M. M. Hilferty 1931), within 1 % of it."""
    part = 2 / (9 * degrees)
    return degrees * max(0.0, 1 - part + z * math.sqrt(part)) ** 3
