"""Inputs are shown as they came, and what carried weight is marked where it stands."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from monitor.recordings import Message
from monitor.report import exhibits
from monitor.report.exhibits import Marked
from monitor.report.page import Picture, Plot, Sound, Table, Words
from monitor.report.sources import Evidence, Place
from schemas import codec
from schemas.alerts import Alert, Attribution, Input
from schemas.frames import Frame, Kind, frame_of
from schemas.records import News
from tests.golden import day
from tests.monitor.report import made
from tests.monitor.report.test_bars import SECOND_NS, START_NS
from tests.monitor.report.test_sources import resting_on


def place(start: int, end: int, weight: float = 1.0, excerpt: str = "") -> Marked:
    return Marked(start, end, weight, excerpt)


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        ([], [("abcdefgh", None)]),
        ([place(2, 4)], [("ab", None), ("cd", 1.0), ("efgh", None)]),
        ([place(0, 8)], [("abcdefgh", 1.0)]),
        ([place(4, 6, 0.5), place(0, 2, -1)], [("ab", -1), ("cd", None), ("ef", 0.5), ("gh", None)]),
        ([place(2, 6, 2), place(5, 8, 1)], [("ab", None), ("cdef", 2), ("gh", None)]),  # the weightier of two that meet
        ([place(6, 99)], [("abcdefgh", None)]),  # beyond the text: it is of another one
        ([place(3, 3)], [("abcdefgh", None)]),
    ],
)
def test_a_text_is_cut_at_the_marked_places(places: list[Marked], expected: list[tuple[str, Any]]) -> None:
    assert exhibits._pieces("abcdefgh", places) == expected


def heard(*texts: str) -> tuple[list[Message], list[Input]]:
    """Return news of those texts, and inputs that name them."""
    messages, inputs = [], []
    for at, text in enumerate(texts):
        ts = START_NS + at * SECOND_NS
        value = codec.encode(
            News(instrument="ACME.XTOC", ts_event=ts, ts_available=ts, document_id=str(at), headline=text)
        )
        messages.append(Message("news", b"ACME.XTOC", value, ts, ts, ts // 10**6 + 1, 0, at))
        sha = made.hashlib.sha256(value).hexdigest()
        inputs.append(Input(topic="news", partition=0, offset=at, sha256=sha))
    return messages, inputs


def explained(alert: Alert, *places: Attribution) -> Alert:
    return msgspec.structs.replace(
        alert, explanation=msgspec.structs.replace(alert.explanation, attributions=list(places))
    )


def test_an_excerpt_tells_which_of_several_texts_is_meant() -> None:
    messages, inputs = heard("profit warning today", "an unrelated piece")
    evidence = Evidence({Place("news", 0, m.offset): m for m in messages})
    alert = explained(resting_on(inputs), Attribution(topic="news", locator="chars 0:6", weight=0.9, excerpt="profit"))
    newest, meant = exhibits.texts(alert, evidence, "news")
    assert isinstance(newest, Words)
    assert isinstance(meant, Words)
    assert newest.pieces == [("an unrelated piece", None)]
    assert meant.pieces == [("profit", 0.9), (" warning today", None)]


def test_a_place_of_another_unit_or_topic_marks_nothing() -> None:
    alert = explained(
        resting_on([]),
        Attribution(topic="news", locator="columns 1:2", weight=1),
        Attribution(topic="news", locator="chars 1", weight=1),
        Attribution(topic="transcripts", locator="chars 1:2", weight=1),
        Attribution(topic="news", locator="chars 1:2", weight=0.5),
        Attribution(topic="news", locator="chars 3:4", weight=-0.75),
    )
    assert [(one.start, one.weight) for one in exhibits.marked(alert, "news")] == [(3, -0.75), (1, 0.5)]


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> tuple[Alert, Evidence]:
    alert = made.hostile_alert()
    recording = made.recording(tmp_path_factory.mktemp("day") / "day")
    return alert, Evidence.find(recording, [alert])


def test_a_chart_is_shown_with_its_columns(shown: tuple[Alert, Evidence]) -> None:
    alert, evidence = shown
    (chart,) = exhibits.chart(alert, evidence)
    assert isinstance(chart, Picture)
    assert chart.data.startswith("data:image/png;base64,")
    places = sorted(exhibits.marked(alert, "charts"), key=lambda one: -abs(one.weight))
    assert [round(left * chart.width_px) for left, _, _ in chart.marks] == [one.start for one in places]
    assert [round(width * chart.width_px) for _, width, _ in chart.marks] == [one.end - one.start for one in places]
    assert all(f"columns {one.start} to {one.end}" in chart.alt for one in places)


def test_sound_is_drawn_with_its_milliseconds_and_can_be_heard(shown: tuple[Alert, Evidence]) -> None:
    alert, evidence = shown
    plot, sound = exhibits.sound(alert, evidence, "one", listen=True)
    assert isinstance(plot, Plot)
    assert isinstance(sound, Sound)
    assert [(shape.x0, shape.x1) for shape in plot.figure.layout.shapes] == [(0.5, 1.5), (2.0, 2.5)]
    spectrogram, wave = plot.figure.data
    assert np.asarray(spectrogram.z).shape[0] == 40
    assert np.abs(np.asarray(wave.y)).max() > 0.1
    assert sound.data.startswith("data:audio/wav;base64,")
    assert len(exhibits.sound(alert, evidence, "one", listen=False)) == 1


def framed(offset: int, seconds: list[float], *, kind: Kind = Kind.TRADE) -> tuple[Place, Frame]:
    ts = [START_NS + int(s * SECOND_NS) for s in seconds]
    columns: dict[str, Any] = {"ts_event": ts, "ts_available": ts, "kind": [kind] * len(ts)}
    price = [100 + s for s in seconds]
    columns |= {"bid": price, "ask": price} if kind == Kind.QUOTE else {"price": price, "size": [1] * len(ts)}
    return Place("frames", 0, offset), frame_of("ACME.XTOC", columns)


def marks(plot: Any) -> dict[str, list[float]]:
    return {one.name: [round(float(y), 3) for y in one.y] for one in plot.figure.data if one.name}


def test_ticks_that_an_alert_rests_on_and_names_stand_out() -> None:
    alert = explained(
        resting_on([Input(topic="frames", partition=0, offset=7, sha256="00")]),
        Attribution(topic="frames", locator="ticks 1:3", weight=1.0),
    )
    (plot,) = exhibits.ticks(alert, [framed(6, [0, 1]), framed(7, [2, 3, 4, 5])], "one")
    assert marks(plot) == {
        "around it": [100, 101],
        "the alert rests on": [102, 105],
        "named by it": [103, 104],
    }


def test_where_nothing_is_traded_quotes_are_shown() -> None:
    (plot,) = exhibits.ticks(resting_on([]), [framed(1, [0, 1], kind=Kind.QUOTE)], "one")
    assert marks(plot) == {"around it": [100, 101]}
    assert "2 mid quotes" in plot.alt
    assert exhibits.ticks(resting_on([]), [framed(1, [0], kind=Kind.HALT)], "one") == []


def test_of_many_ticks_those_that_matter_are_kept() -> None:
    role = np.zeros(50_000, np.int64)
    role[10_000:10_040] = 1
    kept = exhibits._thinned(role)
    assert len(kept) <= exhibits.MOST_TICKS
    assert set(range(10_000, 10_040)) <= set(kept.tolist())
    assert (np.diff(kept) > 0).all()


def test_orders_are_listed(shown: tuple[Alert, Evidence], tmp_path: Any) -> None:
    pumped = next(a for a in day.stored().alerts if any(one.topic == "orders" for one in a.evidence.inputs))
    recording = made.recording(tmp_path / "day")
    (table,) = exhibits.orders(pumped, Evidence.find(recording, [pumped]))
    assert isinstance(table, Table)
    named = [one for one in pumped.evidence.inputs if one.topic == "orders"]
    assert len(table.rows) == len(named)
    assert {row[2] for row in table.rows} <= {"buy", "sell"}
    account = str(table.rows[0][5])
    subject = msgspec.structs.replace(pumped.subject, account=account)
    (own,) = exhibits.orders(msgspec.structs.replace(pumped, subject=subject), Evidence.find(recording, [pumped]))
    assert isinstance(own, Table)
    assert own.rows == [row for row in table.rows if row[5] == account]
