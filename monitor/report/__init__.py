"""The report: one HTML file that a desk can read, zoom and mail; nothing is loaded from anywhere.

`write` makes it of a backtest, the replay that it judges, and the recording that was replayed. Its sections are one
ordered literal: another one is a function of `Material` that returns a `Section`; one without blocks is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from engines.backtest.results import Backtest
from monitor.backtest import left_out
from monitor.numbers import duration, plural
from monitor.recordings import Recording
from monitor.render import clock
from monitor.replay_output import Replay
from monitor.report import alarms, curves, page, prices, quality, timing
from monitor.report.material import Material, gather
from monitor.report.page import Cell, Facts, Page, Section

#: What a report holds, in the order in which it is read.
SECTIONS: tuple[Callable[[Material], Section], ...] = (
    quality.brief,
    alarms.events,
    prices.prices,
    timing.by_day,
    timing.rates,
    curves.precision_recall,
    curves.costs,
    timing.leads,
    curves.reliability,
    timing.latency,
    quality.ablation,
    alarms.alarms,
    alarms.dossiers,
    quality.method,
)


def write(found: Backtest, replay: Replay, recording: Recording | None, out: Path) -> None:
    """Write the report of a backtest to ``out``, whole or not at all.

    Parameters
    ----------
    recording
        What was replayed; without it there are no prices, news and evidence.

    Raises
    ------
    RecordingError, ReplayError
        A file cannot be read.
    """
    page.write(compose(gather(found, replay.alerts(), recording)), out)


def compose(material: Material) -> Page:
    """Return a report as a page."""
    tested = material.found.tested
    name = Path(tested.recording).name or tested.recording
    return Page(
        kicker="Backtest report",
        title=f"Backtest of {name}",
        subtitle=f"{clock(tested.from_ns)} to {clock(tested.to_ns)} UTC · {plural(tested.instruments, 'instrument')} ·"
        f" {plural(tested.days, 'day')} · {plural(tested.labels, 'labelled event')}",
        facts=Facts(
            [
                ("Recording", Cell(text=tested.recording, title=tested.recording)),
                ("Its digest", _digest(tested.recording_digest)),
                ("Replay", Cell(text=tested.replay)),
                ("Alert digest", _digest(tested.alert_digest)),
                ("Configuration", _digest(tested.config)),
                ("Bundle", _digest(tested.bundle)),
                ("Labels", Cell(text=tested.labels_file)),
                ("Their digest", _digest(tested.labels_digest)),
                ("Warm-up", duration(tested.warm_up_ns / 1e9) if tested.warm_up_ns else "none"),
                ("Code", f"tocsin {tested.code_version}"),
            ]
        ),
        warnings=[*tested.stamps, *left_out(tested)],
        sections=[made for make in SECTIONS if (made := make(material)).blocks],
        foot=f"Written by tocsin {tested.code_version} of alerts with digest {tested.alert_digest}.",
    )


def _digest(text: str) -> Cell:
    return Cell(text=text if len(text) <= 16 else f"{text[:16]}…", code=True, title=text)
