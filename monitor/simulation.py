"""A simulated market written as a recording."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

from engines.instruments import SymbolMaster
from engines.labels import Label
from engines.simulator.day import Article, Config, Day, chosen, simulate
from engines.simulator.words import Company
from monitor.converters.messages import Input, frame_messages, merged, record_message, single_ticks
from monitor.recording_writer import RecordingWriter
from monitor.recordings import Message
from schemas.frames import Frame
from schemas.records import Document


def companies_of(master: SymbolMaster, instruments: int | None = None) -> list[Company]:
    """Return the first ``instruments`` listings of a symbol master as companies that the simulator can write about."""
    listings = list(master.listings.values())[:instruments]
    return [Company(listing.instrument, listing.symbol, listing.name or listing.symbol) for listing in listings]


def write(
    path: Path,
    config: Config,
    companies: list[Company],
    *,
    single: bool = False,
    progress: Callable[[float], None] = lambda share: None,
) -> list[Label]:
    """Simulate and write a recording of frames and news or, if ``single``, of single ticks and documents.

    Single ticks and documents are what feeds send and the gateway packs; frames and news are what it makes of them.
    ``progress`` is told the share that is done, in [0, 1].

    Raises
    ------
    RecordingError
        If ``path`` exists.
    ValueError
        If the configuration cannot be simulated.
    """
    asked = asdict(config) | {"typologies": chosen(config), "instruments": len(companies)}
    parameters = {key: _plain(value) for key, value in asked.items()}
    labels: list[Label] = []
    with RecordingWriter(path, source="simulator", parameters=parameters) as writer:
        for number, day in enumerate(simulate(config, companies)):
            labels += day.labels
            session_ns = config.hours * 3.6e12
            opened_ns = min(int(frame.ts_available[0]) for frame in day.ticks if len(frame))
            for message in merged([_singles(frame) if single else frame_messages(frame) for frame in day.ticks]):
                writer.append(message)
                progress((number + (message.ts_available - opened_ns) / session_ns) / config.days)
            for message in merged([frame_messages(frame) for frame in day.order_frames]):
                writer.append(message)
            for topic, records in _records(day, single):
                for record in records:
                    writer.append(record_message(topic, record))
        writer.add_labels(labels)
    return labels


def _plain(value: object) -> str | int | float:
    if isinstance(value, int | float):
        return value
    return " ".join(value) if isinstance(value, tuple) else str(value)


def _singles(frame: Frame) -> Iterator[Message]:
    return (record_message("ticks", tick) for tick in single_ticks(frame))


def _records(day: Day, single: bool) -> Iterator[tuple[str, Iterable[Input]]]:
    if single:
        yield "documents", (_document(article) for article in day.articles)
    else:
        yield "news", (news for article in day.articles for news in article.news())
    yield "transcripts", day.transcripts
    yield "audio", day.audio
    yield "charts", day.charts
    yield "orders", day.orders
    yield "transfers", day.transfers


def _document(article: Article) -> Document:
    return Document(
        ts_event=article.ts_event,
        ts_available=article.ts_available,
        document_id=article.document_id,
        headline=article.headline,
        body=article.body,
        source=article.source,
        channel="post" if article.channel == "post" else "news",
    )
