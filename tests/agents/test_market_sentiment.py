"""Sentiment of sectors: one index of all instruments of one, a text that names several of them heard once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import msgspec
import numpy as np
import pytest

from agents.flow import Arrival, Item
from agents.instrument import instrument
from agents.market_sentiment import SPOKEN, sentiment
from agents.market_state import MarketState
from engines.signals import small
from schemas.records import Opening, Signal, Spoken
from tests.agents.streams import KEY, arrivals, engines, news, outputs
from tests.agents.test_market import T0, S, opening

State = dict[str, MarketState]


def text(second: float, instrument: str, document: str, tone: float = 0.0, sector: str = "energy") -> Arrival:
    """Return what the market is told of a text; texts of one ``document`` have one vector."""
    told = opening(second, instrument, int(second), "text")
    vector = np.random.default_rng(list(document.encode())).normal(size=8).astype("<f4")
    spoken = Spoken(sector=sector, tone=tone, vector=small(vector.tobytes()).tobytes(), bundle="b")
    value = msgspec.structs.replace(told.value, episode_id=document, spoken=spoken)  # type: ignore[type-var]
    return msgspec.structs.replace(told, value=value)


def run(items: Iterable[Item], state: State | None = None) -> list[Signal]:
    return outputs(lambda feed: sentiment(feed, {} if state is None else state, config=SPOKEN), items, Signal)


def test_an_index_is_of_all_instruments_of_a_sector_and_of_no_other() -> None:
    told = run([text(0, "A", "1", 0.8), text(1, "B", "2", -0.4), text(2, "C", "3", -1.0, "utilities")])
    assert [(one.scope, one.instrument, one.sector, one.bundle) for one in told] == [
        ("sector", "energy", "energy", "b"),
        ("sector", "energy", "energy", "b"),
        ("sector", "utilities", "utilities", "b"),
    ]
    assert [round(one.sentiment.index, 3) for one in told if one.sentiment] == [0.8, 0.2, -1.0]
    assert [one.window_start - T0 for one in told] == [0, S, 2 * S]


def test_a_text_that_names_two_of_a_sector_is_heard_once_and_one_said_again_is_not_new() -> None:
    first, other, again = run([text(0, "A", "1"), text(0, "B", "1"), text(9, "B", "2"), text(60, "B", "1 again")])
    assert first.sentiment is not None
    assert other.sentiment is not None
    assert again.sentiment is not None
    assert (first.sentiment.novelty, first.sentiment.texts) == (None, 1)
    assert other.sentiment.novelty is not None
    assert other.sentiment.novelty > 0.1
    assert again.sentiment.texts == 3
    copied = msgspec.structs.replace(text(99, "C", "2").value, episode_id="3")  # type: ignore[type-var]
    (copy,) = run([text(9, "B", "2"), msgspec.structs.replace(text(99, "C", "2"), value=copied)])[1:]
    assert copy.sentiment is not None
    assert copy.sentiment.novelty == pytest.approx(0.0, abs=1e-12)


def test_a_checkpoint_in_between_and_what_is_told_twice_change_nothing() -> None:
    items = [text(60 * n, f"I{n % 5}", str(n), (-1) ** n * 0.5) for n in range(30)]
    state: State = {}
    first = run([*items[:9], *items[:9]], state)
    again = {key: MarketState.unpack(kept.pack()) for key, kept in state.items()}
    assert [*first, *run(items[9:], again)] == run(items)


def test_the_instrument_stage_tells_the_market_of_texts_where_the_sector_is_known() -> None:
    def openings(sector: str) -> list[Opening]:
        made, items = replace(engines(), sector=lambda _: sector), arrivals([], [(news(0), 0.9), (news(60, "d2"), 0.9)])
        return [one for one in outputs(lambda feed: instrument(feed, {}, made), items, Opening) if one.spoken]

    first, other = openings("energy")
    assert (first.instrument, first.typology, first.ts_event) == (KEY, "text", first.ts_available)
    assert first.episode_id != other.episode_id
    assert first.spoken is not None
    assert (first.spoken.sector, len(first.spoken.vector)) == (
        "energy",
        len(other.spoken.vector if other.spoken else b""),
    )
    assert openings("") == []
