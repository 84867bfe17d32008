"""Whether alerts agree: to the letter, but numbers within a tolerance, for their last digits are the machine's.

Compared is what the digest compares (see `schemas.alerts.digest`): not when and by whom an alert was made. Two back
ends differ by 1e-7 in a text's score, two precisions by what the parity gate lets pass; their alerts are the same all
the same, and where they are not, the first field that differs is named.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from schemas.alerts import UNDIGESTED, Alert

#: The gate lets back ends differ by 1e-4 in vectors and logits; what follows from those may differ by a little more.
TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True)
class Difference:
    """A field that two alerts do not agree on; "" where all of the alert is there on one side only."""

    path: str
    theirs: Any
    ours: Any

    def __str__(self) -> str:
        return f"{self.path or 'the alert'}: theirs {_shown(self.theirs)}, ours {_shown(self.ours)}"


def _shown(value: Any) -> str:
    text = "absent" if value is None else repr(value)
    return text if len(text) <= 200 else f"{text[:199]}…"


def body_of(alert: Alert) -> Any:
    """Return an alert as plain values, without what the digest leaves out."""
    body = msgspec.to_builtins(alert)
    for group, fields in UNDIGESTED.items():
        for field in fields:
            body[group].pop(field, None)
    return msgspec.json.decode(msgspec.json.encode(body))


def close(now: float, then: float, tolerance: float = TOLERANCE) -> bool:
    """Tell whether two numbers agree within the tolerance, relative where they are large."""
    return math.isclose(now, then, rel_tol=tolerance, abs_tol=tolerance)


def settled(now: Any, then: Any, tolerance: float = TOLERANCE) -> Any:
    """Return plain values with the numbers of ``then`` wherever both agree within the tolerance.

    Example
    -------
    >>> settled({"score": 0.50000001, "at": 3}, {"score": 0.5, "at": 3})
    {'score': 0.5, 'at': 3}
    """
    if isinstance(now, dict) and isinstance(then, dict):
        return {key: settled(value, then.get(key), tolerance) for key, value in now.items()}
    if isinstance(now, list) and isinstance(then, list) and len(now) == len(then):
        return [settled(*both, tolerance) for both in zip(now, then, strict=True)]
    if isinstance(now, float) and isinstance(then, float):
        return then if close(now, then, tolerance) else now
    return now


def changes(now: Any, then: Any, path: str = "") -> Iterator[Difference]:
    """Yield what differs between plain values, in the order in which ``then`` tells it."""
    if isinstance(now, dict) and isinstance(then, dict):
        for key in (*then, *(key for key in now if key not in then)):
            yield from changes(now.get(key), then.get(key), f"{path}.{key}" if path else key)
    elif isinstance(now, list) and isinstance(then, list) and len(now) == len(then):
        for at, both in enumerate(zip(now, then, strict=True)):
            yield from changes(*both, f"{path}[{at}]")
    elif now != then:
        yield Difference(path, then, now)


def first_difference(ours: Alert, theirs: Alert, tolerance: float = TOLERANCE) -> Difference | None:
    """Return the first field that two alerts do not agree on, None where they agree."""
    then = body_of(theirs)
    return next(changes(settled(body_of(ours), then, tolerance), then), None)


def farthest(ours: Alert, theirs: Alert) -> Difference | None:
    """Return the number that differs most between alerts that agree, None where they agree to the last digit."""
    found = [d for d in changes(body_of(ours), body_of(theirs)) if isinstance(d.ours, float) and d.theirs is not None]
    return max(found, key=lambda d: abs(d.ours - d.theirs), default=None)


def alike(
    ours: Sequence[Alert], theirs: Sequence[Alert], tolerance: float = TOLERANCE
) -> tuple[str, Difference] | None:
    """Return the id of the first alert, by (available_at, alert_id), that two sets do not agree on, and the difference.

    None where the sets agree: the same ids, and of each the same within the tolerance.
    """
    mine, others = ({alert.alert_id: alert for alert in alerts} for alerts in (ours, theirs))
    by_time = {alert.alert_id: alert.times.available_at for alert in (*theirs, *ours)}
    for name in sorted(by_time, key=lambda name: (by_time[name], name)):
        if name not in mine or name not in others:
            there = [alerts[name].finding.typology if name in alerts else None for alerts in (others, mine)]
            return name, Difference("", *there)
        if (difference := first_difference(mine[name], others[name], tolerance)) is not None:
            return name, difference
    return None
