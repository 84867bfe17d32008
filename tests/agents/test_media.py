"""Charts and sound on lists and dicts: kept once, fused where the model knows them, left out where the ladder says."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable

import msgspec
import numpy as np

from agents.flow import Arrival, Item
from agents.instrument import instrument
from agents.instrument_state import InstrumentState
from engines.tracks import Embedding
from engines.typologies import elevated_risk
from schemas.alerts import Alert
from schemas.journal import Ladder
from schemas.records import AudioSegment, ChartSnapshot, Score
from tests.agents.streams import BEGIN, KEY, S, engines, heard, news, outputs

#: Rings at whatever the model says.
ALERT = msgspec.structs.replace(elevated_risk.SPEC, open=0.001, critical=1.0, close=0.0)


def embedding(at: int, logit: float, score: float = 0.7) -> Embedding:
    return Embedding(at, at, np.zeros(32, np.float32).tobytes(), score, [logit], [(0, 10, 0.1), (10, 20, -1.5)])


def chart(seconds: float, logit: float = 1.0, sha: int = 0) -> Arrival:
    at = BEGIN + int(seconds * S)
    record = ChartSnapshot(
        ts_event=at, ts_available=at, instrument=KEY, media_type="image/png", width=60, height=64, payload=b"x"
    )
    return Arrival("charts", 0, 0, KEY, at, 0, record, bytes([sha]) * 32, embedding(at, logit))


def sound(seconds: float, segment: int = 0) -> Arrival:
    at = BEGIN + int(seconds * S)
    record = AudioSegment(
        ts_event=at, ts_available=at, instrument=KEY, call_id="c", segment=segment, media_type="audio/L16",
        sample_rate_hz=8_000, payload=b"xx",
    )  # fmt: skip
    return Arrival("audio", 0, 0, KEY, at, 0, record, bytes(32), embedding(at, 2.0, 0.9))


def text(seconds: float) -> Arrival:
    record = news(seconds)
    return Arrival("news", 0, 0, KEY, record.ts_available, 0, record, bytes(32), heard(record, 0.1))


def run(
    items: Iterable[Item], skipped: Callable[[str], None] = lambda modality: None
) -> tuple[list[Alert], list[Score], dict[str, InstrumentState]]:
    made = engines()
    made = dataclasses.replace(made, specs={**made.specs, "elevated_risk": ALERT}, skipped=skipped)
    state: dict[str, InstrumentState] = {}
    said = outputs(lambda feed: instrument(feed, state, made), items, Alert, Score)
    return [one for one in said if isinstance(one, Alert)], [one for one in said if isinstance(one, Score)], state


def test_an_alert_says_that_it_stands_on_a_chart_and_on_which_part_of_it() -> None:
    (alert,), (score,), _ = run([chart(0.0)])
    assert alert.modalities["chart"].weight == 1.0
    assert alert.modalities["chart"].score == 0.7
    assert not alert.modalities["text"].present
    assert [place.locator for place in alert.explanation.attributions] == ["columns 10:20", "columns 0:10"]
    assert alert.explanation.attributions[0].topic == "charts"
    assert score.scores["chart_risk"] == 0.7
    assert score.ages_ns == {"chart": 0}


def test_a_wilder_chart_is_more_of_a_risk() -> None:
    calm, wild = (run([text(0.0), chart(1.0, logit)])[1][-1].scores["elevated_risk"] for logit in (-4.0, 0.0))
    assert wild > calm


def test_shares_of_several_modalities_add_up() -> None:
    alerts, scores, _ = run([text(0.0), chart(1.0, -1.0)])
    first, *_ = alerts
    assert first.modalities["text"].weight == 1.0
    assert scores[-1].ages_ns == {"text": S, "chart": 0}
    (again, *_), _, _ = run([chart(0.0, -1.0), text(1.0)])
    assert again.modalities["chart"].weight == 1.0


def test_sound_is_shown_beside_and_weighs_nothing() -> None:
    (alert, *_), scores, _ = run([sound(0.0), chart(1.0)])
    assert scores[-1].scores["voice_stress"] == 0.9
    assert alert.modalities["audio"].present
    assert alert.modalities["audio"].weight in (None, 0.0)
    risk = [one.scores["elevated_risk"] for one in scores]
    assert risk[-1] == run([chart(1.0)])[1][-1].scores["elevated_risk"]


def test_a_picture_that_comes_twice_is_looked_at_once() -> None:
    _, scores, state = run([chart(0.0, sha=1), chart(5.0, sha=1), chart(6.0, sha=2), sound(7.0), sound(8.0)])
    assert [one.window_end - BEGIN for one in scores] == [0, 6 * S, 7 * S]
    assert state[KEY].inputs_count == 5


def test_the_ladder_leaves_charts_and_sound_out_and_counts_them() -> None:
    shed: list[str] = []
    bare = [msgspec.structs.replace(one, embedding=None) for one in (chart(2.0, sha=3), sound(3.0))]
    alerts, scores, state = run([chart(0.0), Ladder(1, "slow"), *bare, text(4.0)], shed.append)
    assert shed == ["chart", "audio"]
    assert state[KEY].inputs_count == 4
    # What was kept before has no say either.
    assert scores[-1].scores["elevated_risk"] == run([text(4.0)])[1][-1].scores["elevated_risk"]
    assert [alert.modalities["chart"].present for alert in alerts] == [True]


def test_without_an_encoder_a_chart_is_evidence_and_the_ladder_is_not_blamed() -> None:
    shed: list[str] = []
    _, scores, state = run([msgspec.structs.replace(chart(0.0), embedding=None)], shed.append)
    assert (scores, shed, state[KEY].inputs_count) == ([], [], 1)


def test_a_chart_that_comes_late_replaces_no_newer_one() -> None:
    late = msgspec.structs.replace(chart(-3_600.0, sha=2), ts_available=BEGIN + 6 * S)
    _, scores, state = run([chart(5.0, sha=1), late])
    assert state[KEY].kept["chart"].ts_event == BEGIN + 5 * S
    assert state[KEY].sources["chart"].sha256 == bytes([1]) * 32
    assert len(scores) == 2


def test_evidence_names_what_an_alert_stands_on_however_long_ago_it_came() -> None:
    many = [msgspec.structs.replace(chart(60.0 + i, sha=100 + i), embedding=None, offset=100 + i) for i in range(40)]
    wild = msgspec.structs.replace(text(200.0), offset=77)
    alerts, _, state = run([chart(0.0, sha=9), *many, wild])
    assert state[KEY].inputs_count == 42
    assert alerts[0].evidence.inputs[0].sha256 == (bytes([9]) * 32).hex()
    assert not [seen for seen in state[KEY].inputs if seen.sha256 == bytes([9]) * 32]
    again = [alert for alert in alerts if alert.activity != "create"]
    assert not again


def test_what_another_bundles_encoder_made_has_no_say() -> None:
    other = chart(0.0)
    assert other.embedding is not None
    other = msgspec.structs.replace(other, embedding=msgspec.structs.replace(other.embedding, bundle="another"))
    alone = run([text(1.0)])[1][-1].scores["elevated_risk"]
    assert run([other, text(1.0)])[1][-1].scores["elevated_risk"] == alone
