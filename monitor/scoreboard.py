"""Alerts against labels: what was caught, what was missed, what was false.

An episode that opens from a minute before a label's start to an hour after its end, on one of its instruments, is the
label's; every other one is false. Pure: the demo, a backtest and tests call it alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from engines.labels import Label
from schemas.alerts import Severity

BEFORE_NS = 60 * 10**9
AFTER_NS = 3_600 * 10**9


@dataclass(frozen=True, slots=True)
class Opening:
    """The first alert of an episode; ``opened_ns`` is the event time that completed its cause, int64 ns UTC."""

    episode_id: str
    typology: str
    instrument: str
    opened_ns: int
    severity: Severity = "warning"


@dataclass(frozen=True, slots=True)
class Catch:
    """A label and the episodes that are its own, earliest first; none: it was missed."""

    label: Label
    openings: tuple[Opening, ...]

    @property
    def exact(self) -> bool:
        """Whether an episode of the label's own typology is among them."""
        return any(opening.typology == self.label.typology for opening in self.openings)

    @property
    def delay_s(self) -> float | None:
        """Seconds of event time from the harm's onset to the first opening, negative where it came before.

        The first of the label's own typology counts; where there is none, the first of any.
        """
        if not self.openings:
            return None
        own = [opening for opening in self.openings if opening.typology == self.label.typology]
        return ((own or self.openings)[0].opened_ns - self.label.onset_ns) / 1e9


@dataclass(frozen=True, slots=True)
class Score:
    """How a stretch went: labels with their catches, and what is nobody's.

    ``false`` are episodes of at least a warning, of which ``baited`` met a benign label; ``notes`` are those that only
    inform.
    """

    catches: tuple[Catch, ...]
    false: tuple[Opening, ...]
    baited: tuple[Opening, ...]
    notes: tuple[Opening, ...]

    @property
    def caught(self) -> int:
        """Number of labels with an episode of their own."""
        return sum(bool(catch.openings) for catch in self.catches)


def judge(labels: Sequence[Label], openings: Iterable[Opening]) -> Score:
    """Give every episode to the labels that it belongs to.

    Example
    -------
    >>> label = Label(event_id="1", typology="pump", start_ns=10, onset_ns=10, end_ns=20, instruments=["A.X"])
    >>> score = judge([label], [Opening("e", "anomaly", "A.X", 15), Opening("f", "anomaly", "B.X", 15)])
    >>> score.caught, score.catches[0].exact, [opening.episode_id for opening in score.false]
    (1, False, ['f'])
    """
    ordered = sorted(openings, key=lambda opening: (opening.opened_ns, opening.episode_id))
    harmful = [label for label in labels if not label.benign]
    benign = [label for label in labels if label.benign]
    nobodys = [opening for opening in ordered if not any(_belongs(opening, label) for label in harmful)]
    false = tuple(opening for opening in nobodys if opening.severity != "info")
    return Score(
        catches=tuple(
            Catch(label, tuple(opening for opening in ordered if _belongs(opening, label)))
            for label in sorted(harmful, key=lambda label: (label.onset_ns, label.event_id))
        ),
        false=false,
        baited=tuple(opening for opening in false if any(_belongs(opening, label) for label in benign)),
        notes=tuple(opening for opening in nobodys if opening.severity == "info"),
    )


def _belongs(opening: Opening, label: Label) -> bool:
    in_time = label.start_ns - BEFORE_NS <= opening.opened_ns <= label.end_ns + AFTER_NS
    return in_time and opening.instrument in label.instruments
