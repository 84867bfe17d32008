"""Streams for the agents' tests: two quiet hours of one instrument, then a pump; texts with made-up scores."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, MutableMapping
from typing import TypeVar

import numpy as np

from agents.flow import Arrival, Item
from agents.instrument import Engines, instrument
from agents.instrument_state import InstrumentState
from engines import anomaly, order_findings, words
from engines.bundle import DEFAULT, Bundle
from engines.fusion import FusionModel
from engines.ticks import TickConfig, TickEngine
from engines.tracks import Embedding
from engines.typologies import adverse_text, elevated_risk, pump_and_dump
from schemas.alerts import Alert, Provenance, Subject
from schemas.frames import Frame, frame_of
from schemas.journal import Clock
from schemas.records import News

S = 1_000_000_000
KEY = "ORCHID.XTOC"
T = TypeVar("T")
BEGIN = 1_741_012_200 * S
FUSION = FusionModel(Bundle.load(DEFAULT))


def engines(count: dict[str, int] | None = None) -> Engines:
    """Return the engines as shipped; what cleaning sets aside is added up in ``count``."""

    def add(found: dict[str, int]) -> None:
        for reason, n in found.items():
            if count is not None:
                count[reason] = count.get(reason, 0) + n

    return Engines(
        ticks=TickEngine(TickConfig()),
        fusion=FUSION,
        specs={
            "anomaly": anomaly.SPEC,
            "pump_and_dump": pump_and_dump.SPEC,
            "adverse_text": adverse_text.SPEC,
            "elevated_risk": elevated_risk.SPEC,
            **words.SPECS,
            **order_findings.SPECS,
        },
        subject=lambda key: Subject(instrument=key),
        provenance=Provenance(code_version="test", config="test"),
        count=add,
        skipped=lambda modality: None,
        sector=lambda _: "energy",
    )


def pump() -> Frame:
    """Return the ticks: a trade every six seconds for two hours, then buyers lift the price by a third in a minute."""
    rng = np.random.default_rng(5)
    quiet = 1_200
    burst = 1_200
    ts = np.concatenate([BEGIN + np.arange(quiet) * 6 * S, BEGIN + 7_200 * S + np.arange(burst) * 50_000_000])
    walk = 10.0 * np.exp(np.cumsum(rng.normal(0.0, 2e-4, quiet)))
    rise = walk[-1] * (1.0 + 0.33 * np.linspace(0.0, 1.0, burst))
    return frame_of(
        KEY,
        {
            "ts_event": ts,
            "ts_available": ts + 1_000_000,
            "price": np.concatenate([walk, rise]),
            "size": np.concatenate([rng.integers(1, 50, quiet), rng.integers(200, 900, burst)]).astype(float),
            "side": np.concatenate([rng.choice([-1, 1], quiet), np.ones(burst)]),
            "source_offset": np.arange(quiet + burst),
        },
    )


def cut(frame: Frame, sizes: Iterable[int]) -> Iterator[Frame]:
    """Yield the rows in frames of these sizes, the last size again and again; none spans a second, as a feed's do."""
    at, size, steps = 0, 1, iter(sizes)
    while at < len(frame):
        size = next(steps, size)
        end = min(at + size, int(frame.ts_available.searchsorted(frame.ts_available[at] + S)))
        yield frame[at:end]
        at = end


def arrivals(frames: Iterable[Frame], texts: Iterable[tuple[News, float]] = ()) -> list[Item]:
    """Return frames and scored texts as they would arrive, a clock entry before each new second."""
    found: list[tuple[int, Frame | News, float]] = [(int(f.ts_available[-1]), f, 0.0) for f in frames]
    found += [(news.ts_available, news, score) for news, score in texts]
    items: list[Item] = []
    clock_ns = 0
    for n, (at, value, score) in enumerate(sorted(found, key=lambda entry: entry[0])):
        if at - at % S > clock_ns:
            clock_ns = at - at % S
            items.append(Clock(clock_ns))
        topic, embedding = "frames", None
        if isinstance(value, News):
            topic, embedding = "news", heard(value, score)
        items.append(Arrival(topic, 0, n, value.instrument, at, n, value, bytes(32), embedding))
    return items


def heard(news: News, score: float) -> Embedding:
    """Return an embedding with this score."""
    vector = np.full(384, 0.05, np.float32).tobytes()
    return Embedding(news.ts_event, news.ts_available, vector, score, [0.0, 0.0, 0.0], [(0, 4, 1.5)])


def news(seconds: float, document: str = "d1", instrument: str = KEY) -> News:
    """Return a document that arrives so long after the stream's beginning."""
    at = BEGIN + int(seconds * S)
    return News(ts_event=at, ts_available=at, instrument=instrument, document_id=document, headline="Shares plunge")


def run(items: Iterable[Item], state: MutableMapping[str, InstrumentState], made: Engines | None = None) -> list[Alert]:
    """Return the alerts of the instrument agent."""
    return outputs(lambda feed: instrument(feed, state, made or engines()), items, Alert)


def outputs(
    agent: Callable[[AsyncIterator[Item]], AsyncIterator[object]], items: Iterable[Item], *kinds: type[T]
) -> list[T]:
    """Return what of these kinds an agent says that is fed with items."""

    async def feed() -> AsyncIterator[Item]:
        for item in items:
            yield item

    async def collect() -> list[T]:
        return [one async for one in agent(feed()) if isinstance(one, kinds)]

    return asyncio.run(collect())
