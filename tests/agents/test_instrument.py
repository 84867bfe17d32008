"""The instrument stage on lists and dicts: what opens, worsens and closes an episode, and what it says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, MutableMapping
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.flow import Arrival, Item
from agents.instrument import Engines, instrument
from agents.instrument_state import InstrumentState
from agents.watched import DOCUMENTS_KEPT, INPUTS_KEPT
from engines.anomaly import AnomalyConfig
from engines.bundle import Bundle
from engines.fusion import FusionModel
from engines.ticks import TickConfig, TickEngine
from engines.tracks import Embedding, Seen
from engines.typologies import TypologySpec
from engines.typologies.pump_and_dump import PumpConfig
from monitor.state import StateTable
from schemas.alerts import Alert, Provenance, Subject, digest
from schemas.frames import Frame, frame_of
from schemas.journal import Clock, Ladder
from schemas.records import News, Score, TranscriptSegment
from tests.conftest import ROOT

S = 1_000_000_000
T0 = 1_700_000_000 * S
#: Warms up within two minutes, so that a jump after three rings.
QUICK = TickConfig(
    anomaly=AnomalyConfig(tail=3.0, warm_up_bars=10),
    pump=PumpConfig(warm_up_ns=3_600 * S),
)
SPECS = {
    head: TypologySpec(name=head, version="1", title=head, open=at, critical=worse, close=calm, hold_ns=60 * S)
    for head, at, worse, calm in (
        ("anomaly", 0.9, 0.99999, 0.5),
        ("pump_and_dump", 0.5, 0.9, 0.1),
        ("adverse_text", 0.9, 0.98, 0.5),
        ("elevated_risk", 0.999, 0.9999, 0.25),
    )
}
FUSION = FusionModel(Bundle.load(ROOT / "bundles" / "default"))


def engines(config: str = "c", skipped: Callable[[str], None] = lambda modality: None) -> Engines:
    return Engines(
        ticks=TickEngine(QUICK),
        fusion=FUSION,
        specs=SPECS,
        subject=lambda key: Subject(instrument=key),
        provenance=Provenance(code_version="test", config=config, bundle="b"),
        count=lambda _: None,
        skipped=skipped,
        sector=lambda _: "energy",
    )


# What arrives.


def ticks(seed: int = 1, n: int = 400, jump_at: int | None = 250, key: str = "ACME.XTOC") -> Frame:
    """Return a trade a second around 50; at ``jump_at`` the price leaps by a tenth and comes back."""
    draw = np.random.default_rng(seed)
    price = 50.0 + 0.01 * draw.integers(-3, 4, n)
    if jump_at is not None:
        price[jump_at : jump_at + 5] *= 1.1
    ts = T0 + np.arange(n) * S
    return frame_of(
        key,
        {
            "ts_event": ts,
            "ts_available": ts + 1_000_000,
            "price": price,
            "size": np.ones(n),
            "side": draw.choice([-1, 1], n),
            "trade_id": np.arange(1, n + 1),
        },
    )


class Inputs:
    """Numbers arrivals as a lane does."""

    def __init__(self) -> None:
        self.n = 0

    def arrival(self, value: Any, key: str, available: int, embedding: Embedding | None = None) -> Arrival:
        topic = {Frame: "frames", News: "news", TranscriptSegment: "transcripts"}[type(value)]
        self.n += 1
        return Arrival(topic, 0, self.n - 1, key, available, self.n - 1, value, bytes(32), embedding)

    def frame(self, frame: Frame) -> Arrival:
        return self.arrival(frame, frame.instrument, int(frame.ts_available.max()))

    def news(self, score: float, at: int, document: str = "d1", key: str = "ACME.XTOC") -> Arrival:
        record = News(ts_event=at, ts_available=at, instrument=key, document_id=document, headline="Acme fails badly")
        return self.arrival(record, key, at, embedding(score, at))

    def call(self, score: float, at: int, segment: int = 0) -> Arrival:
        record = TranscriptSegment(
            ts_event=at, ts_available=at, instrument="ACME.XTOC", call_id="c1", segment=segment, text="We missed."
        )
        return self.arrival(record, "ACME.XTOC", at, embedding(score, at))


def embedding(score: float, at: int) -> Embedding:
    return Embedding(at, at, np.zeros(384, np.float32).tobytes(), score, [score, 0.0, 1 - score], [(5, 10, 1.5)])


def framed(frame: Frame, sizes: Iterable[int], inputs: Inputs) -> list[Arrival]:
    arrivals, start = [], 0
    for size in sizes:
        if start < len(frame):
            arrivals.append(inputs.frame(frame[start : start + size]))
            start += size
    return arrivals


def run(
    items: Iterable[Item],
    state: MutableMapping[str, InstrumentState] | None = None,
    config: str = "c",
    between: Any = lambda _: None,
    skipped: Callable[[str], None] = lambda modality: None,
) -> tuple[list[Alert], list[Score]]:
    async def source() -> AsyncIterator[Item]:
        for item in items:
            yield item
            between(table)

    async def collect() -> list[Any]:
        return [output async for output in instrument(source(), table, engines(config, skipped))]

    table: MutableMapping[str, InstrumentState] = {} if state is None else state
    said = asyncio.run(collect())
    return [one for one in said if isinstance(one, Alert)], [one for one in said if isinstance(one, Score)]


def story(alerts: list[Alert]) -> list[tuple[str, str, int]]:
    return [(alert.finding.typology.split("@")[0], alert.activity, alert.revision) for alert in alerts]


# Episodes.


def test_a_jump_opens_an_episode_that_the_following_calm_closes() -> None:
    alerts, scores = run([Inputs().frame(ticks())])
    assert story(alerts) == [("anomaly", "create", 0), ("anomaly", "close", 1)]
    opened, closed = alerts
    assert opened.episode_id == closed.episode_id
    assert opened.times.event_end == T0 + 250 * S
    assert opened.times.available_at == T0 + 250 * S + 1_000_000
    assert opened.finding.score >= 0.9
    assert opened.explanation.rules
    assert closed.times.event_end - opened.times.event_end < 75 * S
    assert {score.instrument for score in scores} == {"ACME.XTOC"}


def test_the_clock_closes_an_episode_where_no_tick_comes() -> None:
    frame = ticks(n=262)
    alerts, _ = run([Inputs().frame(frame)])
    assert story(alerts) == [("anomaly", "create", 0)]
    later = [Clock(T0 + second * S) for second in range(262, 420)]
    alerts, _ = run([Inputs().frame(frame), *later])
    assert story(alerts) == [("anomaly", "create", 0), ("anomaly", "close", 1)]
    # A tick may keep it open for two more seconds: known is its end with the clock that comes after them.
    assert alerts[1].times.event_end == T0 + 315 * S
    assert alerts[1].times.available_at == T0 + 317 * S


def test_a_clock_that_leaps_decides_what_one_that_ticks_does() -> None:
    frame = ticks(n=262)
    ticking, bars = run([Inputs().frame(frame), *(Clock(T0 + second * S) for second in range(262, 420))])
    leaping, same_bars = run([Inputs().frame(frame), Clock(T0 + 419 * S)])
    assert story(leaping) == [("anomaly", "create", 0), ("anomaly", "close", 1)]
    assert digest(leaping) == digest(ticking)
    assert same_bars == bars


def test_bars_that_the_clock_closes_together_score_as_they_do_alone() -> None:
    def day(numbers: Iterable[int]) -> list[Item]:
        inputs = Inputs()
        items: list[Item] = []
        for n in numbers:
            if n == 2:
                items.append(inputs.news(0.3, T0, key=f"SYM{n}.XTOC"))
            items.append(inputs.frame(ticks(seed=n, n=60, jump_at=None, key=f"SYM{n}.XTOC")))
        return [*items, Clock(T0 + 90 * S)]

    alone = [score for n in range(5) for score in run(day([n]))[1]]
    together = run(day(range(5)))[1]
    assert len({score.scores["elevated_risk"] for score in together if score.window_end > T0 + 50 * S}) > 5
    assert sorted(together, key=repr) == sorted(alone, key=repr)


def test_quiet_ticks_say_nothing() -> None:
    assert run([Inputs().frame(ticks(jump_at=None))])[0] == []


def test_an_adverse_text_opens_worsens_and_is_answered() -> None:
    inputs = Inputs()
    alerts, _ = run(
        [
            inputs.news(0.95, T0, "d1"),
            inputs.news(0.99, T0 + 10 * S, "d2"),
            inputs.news(0.1, T0 + 20 * S, "d3"),
            inputs.news(0.1, T0 + 90 * S, "d4"),
        ]
    )
    assert story(alerts) == [("adverse_text", "create", 0), ("adverse_text", "update", 1), ("adverse_text", "close", 2)]
    assert [alert.finding.severity for alert in alerts] == ["warning", "critical", "critical"]
    assert alerts[2].times.event_end == T0 + 80 * S
    (place,) = alerts[0].explanation.attributions
    assert (place.topic, place.locator, place.excerpt) == ("news", "chars 5:10", "fails")
    assert [(i.topic, i.offset) for i in alerts[0].evidence.inputs] == [("news", 0)]
    assert alerts[0].modalities["text"].present
    assert alerts[0].modalities["text"].age_ns == 0
    assert not alerts[0].modalities["ticks"].present


def test_a_document_that_comes_twice_is_heard_once() -> None:
    inputs = Inputs()
    twice = [
        inputs.news(0.95, T0),
        inputs.news(0.99, T0 + S),
        inputs.call(0.95, T0 + 2 * S),
        inputs.call(0.99, T0 + 3 * S),
    ]
    alerts, scores = run(twice)
    assert story(alerts) == [("adverse_text", "create", 0)]
    assert len(scores) == 2


def test_two_instruments_hear_the_same_document_each_for_itself() -> None:
    inputs = Inputs()
    alerts, _ = run([inputs.news(0.95, T0), inputs.news(0.95, T0, key="OTHER.XTOC")])
    assert [alert.subject.instrument for alert in alerts] == ["ACME.XTOC", "OTHER.XTOC"]
    assert len({alert.episode_id for alert in alerts}) == 2


def test_the_ladders_level_stands_on_the_alert() -> None:
    inputs = Inputs()
    alerts, _ = run([Ladder(1, "slow"), inputs.news(0.95, T0), Ladder(0, "well"), inputs.news(0.99, T0 + S, "d2")])
    assert [alert.quality.ladder for alert in alerts] == ["text and ticks", "full"]


def unheard(arrival: Arrival) -> Arrival:
    """Return a text as it arrives under the ladder's last level."""
    return msgspec.structs.replace(arrival, embedding=None)


def test_without_an_embedding_a_text_is_evidence_and_is_counted() -> None:
    inputs = Inputs()
    state: dict[str, InstrumentState] = {}
    skipped: list[str] = []
    text, same = inputs.news(0.99, T0), inputs.news(0.99, T0 + S)
    assert run([unheard(text)], state, skipped=skipped.append) == ([], [])
    assert state["ACME.XTOC"].inputs_count == 1
    assert skipped == ["text"]
    # It was not heard: once the ladder has climbed back, it is new.
    assert story(run([same], state)[0]) == [("adverse_text", "create", 0)]


def test_rules_only_asks_no_model_and_says_so() -> None:
    inputs = Inputs()
    frame = ticks(n=400)
    alerts, scores = run(
        [inputs.frame(frame[:100]), inputs.news(0.2, T0 + 100 * S), Ladder(2, "slow"), inputs.frame(frame[100:])]
    )
    before = [score for score in scores if score.window_end <= T0 + 90 * S]
    assert before
    under = [score for score in scores if score.window_end > T0 + 105 * S]
    assert all("elevated_risk" in score.scores for score in before)
    assert len(under) > 30
    assert not any("elevated_risk" in score.scores for score in under)
    assert story(alerts) == [("anomaly", "create", 0), ("anomaly", "close", 1)]
    assert [alert.quality.ladder for alert in alerts] == ["rules only"] * 2
    assert [name for name, one in alerts[0].modalities.items() if one.present] == ["ticks"]


def test_without_the_ladder_statistics_are_what_they_are_under_it() -> None:
    frame = ticks(n=400)
    full, under = run([Inputs().frame(frame)]), run([Ladder(2, "slow"), Inputs().frame(frame)])
    assert [score.scores["market_anomaly"] for score in full[1]] == [s.scores["market_anomaly"] for s in under[1]]
    assert story(full[0]) == story(under[0])


# Sameness.


def test_ids_depend_on_what_was_decided_and_on_nothing_else() -> None:
    alerts, _ = run([Inputs().frame(ticks())])
    again, _ = run([Inputs().frame(ticks())])
    other, _ = run([Inputs().frame(ticks())], config="another")
    assert [alert.alert_id for alert in alerts] == [alert.alert_id for alert in again]
    assert not {alert.alert_id for alert in alerts} & {alert.alert_id for alert in other}
    assert not {alert.episode_id for alert in alerts} & {alert.episode_id for alert in other}
    assert {alert.fingerprint for alert in alerts} == {alert.fingerprint for alert in other}


def day(sizes: Iterable[int]) -> list[Item]:
    """Two jumps, a text between them, calls after; the clock moves where a lane would move it."""
    inputs = Inputs()
    frame = ticks(seed=4, n=900, jump_at=300)
    items: list[Item] = list(framed(frame[:500], sizes, inputs))
    items.append(inputs.news(0.97, T0 + 500 * S))
    return [*items, *framed(frame[500:], sizes, inputs), inputs.call(0.2, T0 + 901 * S), Clock(T0 + 1_200 * S)]


@pytest.mark.parametrize("size", [1, 7, 499])
def test_any_framing_gives_the_same_alerts(size: int) -> None:
    whole, _ = run(day([500] * 2))
    cut, _ = run(day([size] * 900))
    assert len(whole) >= 3
    assert digest(cut) == digest(whole)


def test_an_alert_does_not_depend_on_what_else_its_partition_holds_nor_on_a_restart() -> None:
    inputs = Inputs()
    # Its last bar closes by the clock between the end of the calm and the clock that closes the episode.
    frame = inputs.frame(ticks(n=308, jump_at=254))
    clocks = [Clock(T0 + second * S) for second in range(308, 330)]
    other = ticks(n=330, jump_at=None, key="OTHER.XTOC")
    alone, _ = run([frame, *clocks])
    beside = [frame]
    for n, clock in enumerate(clocks):
        beside += [clock, inputs.frame(other[308 + n : 309 + n])]  # type: ignore[list-item]
    among, _ = run(beside)
    assert story(alone) == [("anomaly", "create", 0), ("anomaly", "close", 1)]
    assert digest(among) == digest(alone)

    state: dict[str, InstrumentState] = {}
    before, _ = run([frame, *clocks[:13]], state)
    after, _ = run(clocks[13:], state)
    assert story(after) == [("anomaly", "close", 1)]
    assert digest([*before, *after]) == digest(alone)


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_a_replay_through_steps_of_the_ladder_is_the_same_wherever_it_begins_again(data: st.DataObject) -> None:
    items: list[Item] = day([30] * 30)
    at, level = 0, 0
    levels = [0]
    while (at := at + data.draw(st.integers(3, 12))) < len(items):
        level = data.draw(st.sampled_from([n for n in (0, 1, 2) if n != level]))
        items.insert(at, Ladder(level, "by the journal"))
    for n, item in enumerate(items):
        level = item.level if isinstance(item, Ladder) else levels[-1]
        levels.append(level)
        if level == 2 and isinstance(item, Arrival):
            items[n] = unheard(item)
    whole = run(items)
    cut = data.draw(st.integers(0, len(items)))
    state: dict[str, InstrumentState] = {}
    first = run(items[:cut], state)
    packed = {key: InstrumentState.unpack(kept.pack()) for key, kept in state.items()}
    second = run([Ladder(levels[cut], "as it was"), *items[cut:]], packed)
    assert digest([*first[0], *second[0]]) == digest(whole[0])
    assert [*first[1], *second[1]] == whole[1]


@settings(max_examples=15)
@given(st.lists(st.integers(1, 90), min_size=900, max_size=900))
def test_random_framing_gives_the_same_alerts(sizes: list[int]) -> None:
    assert digest(run(day(sizes))[0]) == digest(run(day([500] * 2))[0])


def test_packing_in_the_middle_changes_nothing() -> None:
    def repack(table: MutableMapping[str, InstrumentState]) -> None:
        for key in list(table):
            table[key] = InstrumentState.unpack(table[key].pack())

    plain: dict[str, InstrumentState] = {}
    packed: dict[str, InstrumentState] = {}
    whole = run(day([60] * 15), plain)
    cut = run(day([60] * 15), packed, between=repack)
    assert digest(cut[0]) == digest(whole[0])
    assert cut[1] == whole[1]
    assert {key: state.pack() for key, state in packed.items()} == {key: state.pack() for key, state in plain.items()}


def test_a_table_sees_what_a_dict_sees_and_knows_what_changed() -> None:
    table: StateTable[InstrumentState] = StateTable()
    plain: dict[str, InstrumentState] = {}
    assert digest(run(day([60] * 15), table)[0]) == digest(run(day([60] * 15), plain)[0])
    assert {key: state.pack() for key, state in table.items()} == {key: state.pack() for key, state in plain.items()}
    assert table.dirty == {"ACME.XTOC"}


# Bounds.


def test_what_is_remembered_is_bounded() -> None:
    inputs = Inputs()
    state: dict[str, InstrumentState] = {}
    run([inputs.news(0.1, T0 + i * S, f"d{i}") for i in range(500)], state)
    kept = state["ACME.XTOC"]
    assert len(kept.inputs) == INPUTS_KEPT
    assert kept.inputs_count == 500
    assert len(kept.documents) == DOCUMENTS_KEPT
    assert kept.inputs[-1] == Seen("news", 0, 499, T0 + 499 * S, bytes(32))
    drift = len(kept.drift.pack())
    assert drift < 40_000
    assert len(kept.pack()) - drift < 24_000
