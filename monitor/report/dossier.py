"""A dossier: one alert with the evidence of every modality, what would have cleared it, and who says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import plotly.graph_objects as go

from engines import book_replay
from engines.book_replay import Book
from monitor.numbers import duration
from monitor.recordings import Recording
from monitor.render import clock, drifted, fine, lacking
from monitor.report import book, conditions, exhibits, figures, inks
from monitor.report.page import Block, Cell, Facts, Note, Page, Plot, Section, Table, write
from monitor.report.sources import Evidence, Place, State, Tape, Window, usable
from schemas.alerts import DRIFT_KINDS, Alert
from schemas.frames import Frame
from schemas.order_frames import OrderFrame
from schemas.topics import NO_INSTRUMENTS

SECOND_NS = 10**9
#: How much of the market is shown around an alert, at least, on either side.
AROUND_NS = 120 * SECOND_NS
#: And of its book: what is there is thick.
BOOK_AROUND_NS = 30 * SECOND_NS
#: How long before that the order events begin of which the book is rebuilt: what was placed earlier is not in it.
LEAD_NS = 3_600 * SECOND_NS
#: Inputs that a dossier lists, the newest.
MOST_INPUTS = 200
_STATES: dict[State, str] = {
    "verified": "hit",
    "differs": "false",
    "not in this recording": "none",
    "the monitor's own": "none",
}


@dataclass(frozen=True, slots=True)
class Case:
    """An alert with all revisions of its episode, oldest first, and what the recording holds of it."""

    alert: Alert
    story: Sequence[Alert]
    evidence: Evidence = field(default_factory=Evidence)
    frames: Sequence[tuple[Place, Frame]] = ()
    book: Book = field(default_factory=Book)


def window(alert: Alert) -> Window:
    """Return the stretch of ticks that a dossier shows: the alert's window, and as much again around it."""
    times = alert.times
    around = max(AROUND_NS, (times.event_end - times.event_start) // 2)
    return Window(alert.subject.instrument, times.event_start - around, times.available_at + around)


def gather(alert: Alert, alerts: Sequence[Alert], recording: Recording | None) -> Case:
    """Look an alert's evidence up in a recording.

    Raises
    ------
    RecordingError
        A file cannot be read.
    """
    story = [one for one in alerts if one.episode_id == alert.episode_id]
    if recording is None:
        return Case(alert, story)
    stretch = window(alert)
    tape = Tape([stretch])
    # Ticks come late at times: those of the window are available a little after its end.
    passing = recording.messages(["frames"], stretch.from_ns - AROUND_NS, stretch.to_ns + AROUND_NS)
    for _ in tape.watch(passing):
        pass
    frames = tape.ticks(stretch)
    rebuilt = _rebuilt(recording, alert, [frame for _, frame in frames])
    return Case(alert, story, Evidence.find(recording, [alert]), frames, rebuilt)


def _rebuilt(recording: Recording, alert: Alert, frames: Sequence[Frame]) -> Book:
    """Rebuild the book around an alert of the instrument's order frames, or where there are none of its ticks."""
    times, instrument = alert.times, alert.subject.instrument
    if instrument in NO_INSTRUMENTS:
        return Book()  # nothing is traded there
    around = max(BOOK_AROUND_NS, (times.event_end - times.event_start) // 2)
    from_ns, to_ns = times.event_start - around, times.available_at + around
    passing = recording.messages(["orders"], from_ns - LEAD_NS, to_ns + AROUND_NS, [instrument.encode()])
    events = [frame for _, frame in usable(passing, OrderFrame)]
    if alert.subject.account:
        from_ns, to_ns = _busy(events, alert, from_ns, to_ns)
    rebuilt = book_replay.of_orders(events, alert.subject.account, from_ns, to_ns)
    if rebuilt.spells:
        return rebuilt
    return replace(book_replay.of_ticks(frames, from_ns, to_ns), instrument=instrument)


def _busy(events: Sequence[OrderFrame], alert: Alert, from_ns: int, to_ns: int) -> tuple[int, int]:
    """Return the part of a range in which an alert's account did anything, the alert itself, and a little around."""
    own = [exhibits.of_account(frame, alert.subject.account).ts_event for frame in events]
    at = np.concatenate([*own, np.array([alert.times.event_end, alert.times.available_at])])
    at = at[(at >= from_ns) & (at < to_ns)]
    return max(from_ns, at.min().item() - BOOK_AROUND_NS), min(to_ns, at.max().item() + BOOK_AROUND_NS)


def sections(case: Case, name: str) -> list[Section]:
    """Return a dossier's sections; ``name`` begins the names of its plots."""
    return [made for make in SECTIONS if (made := make(case, name)).blocks]


def short(case: Case, name: str) -> list[Block]:
    """Return what a report shows of an alert: what was found, why, and the inputs themselves."""
    return [
        _facts(case.alert),
        *conditions.clears(case.alert),
        *conditions.rules(case.alert, name, drawn=False),
        *_exhibits(case, name, listen=False),
        *_modalities(case.alert),
        Note(_checked(case)),
    ]


def page(case: Case, recording: str) -> Page:
    """Return a dossier as a page of its own; ``recording`` names where its evidence was looked up."""
    alert = case.alert
    finding = alert.finding
    return Page(
        kicker="Dossier of an alert",
        title=f"{finding.title}: {alert.subject.named}",
        subtitle=f"{finding.severity}, score {finding.score:.3f}, known {clock(alert.times.available_at)} UTC",
        facts=_facts(alert),
        warnings=_warnings(case, recording),
        sections=sections(case, "alert"),
        foot=f"Alert {alert.alert_id} of tocsin {alert.provenance.code_version}; evidence looked up in {recording}.",
    )


def write_page(case: Case, recording: str, out: Path) -> None:
    """Write a dossier to ``out`` as one HTML file, whole or not at all."""
    write(page(case, recording), out)


def _warnings(case: Case, recording: str) -> list[str]:
    alert, found = case.alert, []
    states = [case.evidence.state(one) for one in alert.evidence.inputs]
    if differs := states.count("differs"):
        found.append(
            f"{differs} of {len(states)} inputs in {recording} have another SHA-256 than the alert says: they are not"
            " the messages that it rests on, and are not shown."
        )
    if absent := states.count("not in this recording"):
        found.append(f"{absent} of {len(states)} inputs are not in {recording}: what they say cannot be shown.")
    if alert.quality.warm_up:
        found.append("It was raised during warm-up: what it is compared with was still being learnt.")
    if alert.quality.ladder != "full":
        found.append(f"The monitor stood on a lower step of its ladder: {alert.quality.ladder}.")
    if alert.quality.gaps:
        found.append(f"{alert.quality.gaps} gaps had been seen in the instrument's data.")
    found += [f"Drift, {drifted(one)}. {DRIFT_KINDS[one.kind]}" for one in alert.quality.drift]
    return found


def _facts(alert: Alert) -> Facts:
    finding, times, subject = alert.finding, alert.times, alert.subject
    waited_s = (times.available_at - times.event_end) / SECOND_NS
    span = f"{fine(times.event_start)} to {fine(times.event_end)}"
    return Facts(
        [
            ("Instrument", subject.instrument),
            ("Account", subject.account),
            ("ISIN", subject.isin),
            ("FIGI", subject.figi),
            ("Typology", finding.typology),
            ("Severity", Cell(text=finding.severity, mark=finding.severity)),
            ("Score", f"{finding.score:.4f}"),
            ("p-value", "" if finding.p_value is None else f"{finding.p_value:.3g}"),
            (
                "Probability",
                "" if finding.probability is None else f"{finding.probability:.2f}, by what analysts found",
            ),
            ("Regulation", ", ".join(finding.regulation)),
            ("Event", span),
            (
                "Available",
                f"{fine(times.available_at)} ({duration(waited_s)} after it)",
            ),
            ("Detected", fine(times.detected_at) if times.detected_at else ""),
            ("Episode", Cell(text=f"{alert.episode_id[:12]}… revision {alert.revision}, {alert.activity}", code=True)),
            ("Alert", Cell(text=alert.alert_id, code=True)),
        ]
    )


def _why(case: Case, name: str) -> Section:
    return Section(
        anchor="why",
        title="Why it rang",
        lead="Each condition: what was measured, against its bound.",
        blocks=[*conditions.rules(case.alert, name, drawn=True), *conditions.clears(case.alert)],
    )


def _evidence(case: Case, name: str) -> Section:
    return Section(
        anchor="evidence",
        title="The evidence itself",
        lead="Inputs as they came, what carried weight marked in them; only those whose SHA-256 is the alert's.",
        blocks=_exhibits(case, name, listen=True),
    )


def _book(case: Case, name: str) -> Section:
    return Section(
        anchor="book",
        title="The book around it",
        lead="What rested at each price, rebuilt of the recording. Drag to zoom: the plots of ticks and book follow.",
        blocks=book.blocks(case.alert, case.book, name),
    )


def _exhibits(case: Case, name: str, *, listen: bool) -> list[Block]:
    alert, evidence = case.alert, case.evidence
    return [
        *exhibits.ticks(alert, case.frames, name),
        *exhibits.orders(alert, evidence),
        *exhibits.texts(alert, evidence, "news"),
        *exhibits.texts(alert, evidence, "transcripts"),
        *exhibits.chart(alert, evidence),
        *exhibits.sound(alert, evidence, name, listen=listen),
    ]


def _of_modalities(case: Case, name: str) -> Section:
    return Section(
        anchor="modalities",
        title="Modalities",
        lead="What was at hand of each, how old it was, what it said alone and how much of the alert stands on it.",
        blocks=_modalities(case.alert),
    )


def _modalities(alert: Alert) -> list[Block]:
    if not alert.modalities:
        return []
    rows: list[list[str | Cell]] = []
    for modality, held in alert.modalities.items():
        if not held.present:
            rows.append([modality, "missing", "", "", "", ""])
            continue
        rows.append(
            [
                modality,
                "there",
                "" if held.age_ns is None else duration(held.age_ns / SECOND_NS),
                "" if held.score is None else f"{held.score:.3f}",
                "" if held.weight is None else f"{held.weight:.0%}".replace("%", " %"),
                Cell(text=held.model, code=True),
            ]
        )
    head = ["modality", "state", "age", "score", "weight", "model"]
    return [Table(caption="Modalities", head=head, rows=rows, numeric=frozenset({2, 3, 4}))]


def _history(case: Case, name: str) -> Section:
    alert = case.alert
    history = alert.evidence.history
    blocks: list[Block] = []
    if len(history) > 1:
        ts, score = np.array([at for at, _ in history]), np.array([held for _, held in history])
        blocks.append(
            Plot(
                name=f"{name}-history",
                figure=figures.figure(
                    [
                        go.Scatter(
                            x=figures.milliseconds(ts),
                            y=figures.small(score),
                            mode="lines+markers",
                            line={"color": inks.ACCENT.light, "shape": "hv"},
                            hovertemplate="%{x|%H:%M:%S.%L}: %{y:.3f}<extra></extra>",
                        )
                    ],
                    y="score",
                    xaxis={"type": "date"},
                    yaxis={"range": [0, 1.05]},
                ),
                alt=f"The episode's score at {len(ts)} changes, from {score[0]:.3f} to {score[-1]:.3f}.",
                height_px=240,
            )
        )
    rows: list[list[str | Cell]] = [
        [
            str(one.revision),
            Cell(text=one.finding.severity, mark=one.finding.severity),
            one.activity,
            fine(one.times.event_end),
            fine(one.times.available_at),
            f"{one.finding.score:.4f}",
            Cell(text=one.alert_id, code=True),
        ]
        for one in case.story
    ]
    head = ["revision", "severity", "activity", "event (UTC)", "available (UTC)", "score", "alert"]
    blocks.append(Table(caption="All revisions of the episode", head=head, rows=rows, numeric=frozenset({0, 5})))
    return Section(
        anchor="episode",
        title="The episode",
        lead="Every change of it was an alert of its own.",
        blocks=blocks,
    )


def _inputs(case: Case, name: str) -> Section:
    alert = case.alert
    rows: list[list[str | Cell]] = []
    for one in alert.evidence.inputs[-MOST_INPUTS:]:
        state = case.evidence.state(one)
        rows.append(
            [
                one.topic,
                str(one.partition),
                str(one.offset),
                Cell(text=one.sha256, code=True),
                Cell(text=state, mark=_STATES[state]),
            ]
        )
    head = ["topic", "partition", "offset", "SHA-256", "in the recording"]
    left = len(alert.evidence.inputs) - len(rows)
    blocks: list[Block] = [Note(_checked(case))]
    if rows:
        blocks.append(
            Table(
                caption="Messages that the alert rests on, oldest first",
                head=head,
                rows=rows,
                numeric=frozenset({1, 2}),
                more=f"{left:,} earlier ones are left out here." if left else "",
            )
        )
    return Section(
        anchor="inputs",
        title="Where it comes from",
        lead="Topic, partition, offset and digest of every input, held against the recording's own bytes.",
        blocks=blocks,
    )


def _checked(case: Case) -> str:
    evidence = case.alert.evidence
    states = [case.evidence.state(one) for one in evidence.inputs]
    told = ", ".join(f"{count} {state}" for state in _STATES if (count := states.count(state)))
    return (
        f"It rests on what came from {fine(evidence.first_seen)} to {fine(evidence.last_seen)} and names"
        f" {len(states)} messages: {told or 'none to look up'}. Since its episode opened, {evidence.count:,} came."
    )


def _made(case: Case, name: str) -> Section:
    made, quality, times = case.alert.provenance, case.alert.quality, case.alert.times
    return Section(
        anchor="made",
        title="Who says so",
        lead="What produced the alert, and the state of the data it was made from.",
        blocks=[
            Facts(
                [
                    ("Code", f"tocsin {made.code_version}"),
                    ("Configuration", Cell(text=made.config, code=True)),
                    ("Bundle", Cell(text=made.bundle, code=True)),
                    ("Back end", " ".join(filter(None, (made.backend, made.precision, made.engine)))),
                    ("Mode", made.mode),
                    ("Run", Cell(text=made.run_id, code=True)),
                    ("Trace", Cell(text=made.trace, code=True)),
                    ("Fingerprint", Cell(text=case.alert.fingerprint, code=True)),
                    ("Watermark", fine(times.watermark)),
                    ("Ladder", quality.ladder),
                    ("Late events so far", str(quality.late_events)),
                    ("Gaps so far", str(quality.gaps)),
                    ("Not judged so far", "; ".join(map(lacking, quality.missing)) or "nothing"),
                    ("Drift before it", "; ".join(map(drifted, quality.drift)) or "none"),
                    ("Warm-up", "not over" if quality.warm_up else "over"),
                ]
            )
        ],
    )


#: A dossier's sections in their order; one that has nothing to show is left out.
SECTIONS = (_why, _evidence, _book, _of_modalities, _history, _inputs, _made)
