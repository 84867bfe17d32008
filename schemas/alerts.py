"""The alert: what was found, on what evidence, by which code, in a CloudEvents 1.0 envelope (structured JSON)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Literal

import msgspec

Severity = Literal["info", "warning", "critical"]
SEVERITIES: tuple[Severity, ...] = ("info", "warning", "critical")
Activity = Literal["create", "update", "close"]
Level = Literal["full", "text and ticks", "rules only"]
DriftKind = Literal["market", "stale_feed", "frozen_price", "unit_change", "vocabulary", "new_instrument"]

#: What each kind of drift says. The first is the market's, the others are of the data.
DRIFT_KINDS: dict[DriftKind, str] = {
    "market": "What the instrument does, or what models say of it, is no longer what it was.",
    "stale_feed": "No tick for longer than chance explains, at an hour and on a day at which the instrument trades.",
    "frozen_price": "Trades go on, and the price has not moved in more bars than chance explains.",
    "unit_change": "The price went to a multiple that a unit or a split makes, stayed there, and moves as before.",
    "vocabulary": "Texts are other than they were, and the market is not: another source, language or form.",
    "new_instrument": "The instrument is heard of for the first time, or for the first time since it was forgotten.",
}


class Part(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A group of an alert's fields."""


class Times(Part, frozen=True, kw_only=True):
    """All in ns UTC. ``detected_at`` is processing time: it says how long the monitor took."""

    event_start: int
    event_end: int
    available_at: int
    watermark: int
    detected_at: int = 0


class Subject(Part, frozen=True, kw_only=True):
    """Whom the alert concerns: an instrument, one ``account`` that trades in it, or an account of "accounts"."""

    instrument: str
    symbol: str = ""
    mic: str = ""
    isin: str = ""
    figi: str = ""
    account: str = ""

    @property
    def named(self) -> str:
        """The instrument, and the account in it where there is one."""
        return f"{self.instrument} · {self.account}" if self.account else self.instrument


class Finding(Part, frozen=True, kw_only=True):
    """What was found; ``regulation`` names articles.

    ``score`` lies in [0, 1]. For texts it is a calibrated probability; for pump-and-dump it says how far the weakest
    condition is exceeded, 0.5 being met; for the fused risk it is calibrated on daily bars only. ``threshold`` is the
    score at which the episode opened, or would now, where it follows a budget. ``probability`` is that of an analyst's
    finding it to be a risk, by what was found of others, where the bundle has learnt that; it decides nothing.
    """

    typology: str
    title: str
    severity: Severity
    score: float
    p_value: float | None = None
    threshold: float | None = None
    probability: float | None = None
    regulation: list[str] = []


class Modality(Part, frozen=True, kw_only=True):
    """One modality's share. ``age_ns`` and ``score`` are absent where it is not ``present``."""

    present: bool
    age_ns: int | None = None
    score: float | None = None
    weight: float | None = None
    model: str = ""


class RuleResult(Part, frozen=True, kw_only=True):
    """One condition: what was measured, in ``unit``, against what bound: the least, or where ``at_most`` the most."""

    name: str
    value: float
    threshold: float
    unit: str
    weight: float = 1.0
    at_most: bool = False

    @property
    def bound(self) -> str:
        """The bound as text, such as "≥ 2.5"."""
        return f"{'≤' if self.at_most else '≥'} {self.threshold:.4g}"


class Attribution(Part, frozen=True, kw_only=True):
    """A place in an input that carried ``weight`` of the score, such as ``ticks 10:250`` or ``chars 4:19``."""

    topic: str
    locator: str
    weight: float
    excerpt: str = ""


class Explanation(Part, frozen=True, kw_only=True):
    """Why. ``clears`` is the smallest change that would have kept the alert from firing."""

    rules: list[RuleResult] = []
    attributions: list[Attribution] = []
    clears: str = ""


class Input(Part, frozen=True, kw_only=True):
    """A message that the alert rests on. ``sha256`` is over the message's value."""

    topic: str
    partition: int
    offset: int
    sha256: str


class Evidence(Part, frozen=True, kw_only=True):
    """Inputs, newest last, and the bounded history of the score: pairs of ``(ts_event, score)``."""

    inputs: list[Input] = []
    first_seen: int
    last_seen: int
    count: int
    history: list[tuple[int, float]] = []


class Provenance(Part, frozen=True, kw_only=True):
    """What produced the alert. ``trace`` is the W3C traceparent of the message that completed it."""

    code_version: str
    config: str
    bundle: str = ""
    engine: str = ""
    backend: str = ""
    precision: str = ""
    mode: Literal["live", "replay"] = "live"
    run_id: str = ""
    trace: str = ""


class Missing(Part, frozen=True, kw_only=True):
    """A ``field`` that order events of the instrument lacked, and the ``typologies`` that could not judge those."""

    field: str
    events: int
    typologies: list[str]


class Drifting(Part, frozen=True, kw_only=True):
    """A drift that was detected shortly before: its ``kind`` (`DRIFT_KINDS`), which ``stream`` of the instrument's it
    was seen in, ``since`` when that was so (ns), and when it was detected (ns, available time).
    """

    kind: DriftKind
    stream: str
    since: int
    detected: int


class Quality(Part, frozen=True, kw_only=True):
    """What the data lacked: the ladder's level, late events, gaps and missing fields of the instrument so far.

    ``drift`` lists what was found, in the hours before the alert, to be no longer as it was.
    """

    ladder: Level
    late_events: int = 0
    gaps: int = 0
    warm_up: bool = False
    missing: list[Missing] = []
    drift: list[Drifting] = []


class Alert(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One revision of an episode. Groups that no engine fills yet are absent, never invented."""

    alert_id: str
    episode_id: str
    fingerprint: str
    revision: int
    activity: Activity
    times: Times
    subject: Subject
    finding: Finding
    modalities: dict[str, Modality]
    explanation: Explanation
    evidence: Evidence
    provenance: Provenance
    quality: Quality


class AlertEvent(msgspec.Struct, frozen=True, kw_only=True):
    """CloudEvents 1.0 in structured JSON; ``id`` is the alert's id, ``time`` RFC 3339 of ``available_at``."""

    specversion: Literal["1.0"] = "1.0"
    id: str
    source: str
    type: Literal["io.tocsin.alert.create", "io.tocsin.alert.update", "io.tocsin.alert.close"]
    subject: str
    time: str
    datacontenttype: Literal["application/json"] = "application/json"
    data: Alert


def identity(*parts: str | int) -> str:
    """Return 32 hex digits (SHA-256, cut to 128 bits) that stand for ``parts`` in this order."""
    return hashlib.sha256("\x1f".join(map(str, parts)).encode()).hexdigest()[:32]


#: Fields that tell how and when an alert was made, not what it says: left out of the digest.
UNDIGESTED: dict[str, tuple[str, ...]] = {
    "times": ("detected_at", "watermark"),
    "provenance": ("mode", "run_id", "trace", "backend", "engine", "precision"),
    "evidence": ("inputs", "count"),
    "quality": ("late_events", "gaps", "missing"),
}


def digest(alerts: Iterable[Alert]) -> str:
    """Return the SHA-256 of the alerts as canonical JSON, sorted by (available_at, alert_id).

    Left out is what may differ between two runs that found the same: processing times, mode, run id, back end, engine
    digest, precision, and what depends on how ticks were framed: the inputs, their number, the watermark and the
    counts of late events, gaps and missing fields as they stood at the end of the frame.
    """
    sha = hashlib.sha256()
    for alert in sorted(alerts, key=lambda a: (a.times.available_at, a.alert_id)):
        body = msgspec.to_builtins(alert)
        for group, fields in UNDIGESTED.items():
            for field in fields:
                body[group].pop(field, None)
        sha.update(msgspec.json.encode(body, order="deterministic"))
        sha.update(b"\n")
    return sha.hexdigest()
