"""A simulated market written as a recording."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from engines.instruments import SymbolMaster
from engines.labels import Label
from engines.simulator import money
from engines.simulator.day import Article, Config, Day, chosen, simulate
from engines.simulator.words import Company
from monitor.converters.messages import Input, frame_messages, merged, record_message, single_ticks
from monitor.recording_writer import RecordingWriter
from monitor.recordings import Message
from schemas.frames import Frame
from schemas.records import Document, Transfer


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
    payments: Sequence[str] = (),
    progress: Callable[[float], None] = lambda share: None,
) -> list[Label]:
    """Simulate and write a recording of frames and news or, if ``single``, of single ticks and documents.

    Single ticks and documents are what feeds send and the gateway packs; frames and news are what it makes of them.
    ``payments`` are the typologies of `engines.simulator.money` that are injected into the day's payments.
    ``progress`` is told the share that is done, in [0, 1].

    Raises
    ------
    RecordingError
        If ``path`` exists.
    ValueError
        If the configuration cannot be simulated.
    """
    asked = asdict(config) | {"typologies": chosen(config), "instruments": len(companies), "payments": tuple(payments)}
    parameters = {key: _plain(value) for key, value in asked.items()}
    people, opened = money.economy(config.seed), dict[str, str]()
    labels: list[Label] = []
    with RecordingWriter(path, source="simulator", parameters=parameters) as writer:
        for number, day in enumerate(simulate(config, companies)):
            paid = _payments(config, people, day, number, payments)
            labels += [*day.labels, *paid.labels]
            opened |= paid.names
            session_ns = config.hours * 3.6e12
            opened_ns = min(int(frame.ts_available[0]) for frame in day.ticks if len(frame))
            for message in merged([_singles(frame) if single else frame_messages(frame) for frame in day.ticks]):
                writer.append(message)
                progress((number + (message.ts_available - opened_ns) / session_ns) / config.days)
            for message in merged([frame_messages(frame) for frame in day.order_frames]):
                writer.append(message)
            transfers = sorted([*day.transfers, *paid.transfers], key=lambda transfer: transfer.ts_available)
            for topic, records in _records(day, transfers, single):
                for record in records:
                    writer.append(record_message(topic, record))
        writer.add_labels(labels)
        writer.bring("accounts", people.accounts_csv(config.start, opened))
        writer.bring("sanctions", people.listed_csv())
    return labels


def _payments(config: Config, people: money.Economy, day: Day, number: int, wanted: Sequence[str]) -> money.Paid:
    return money.day(
        config.seed,
        people,
        day.date,
        number,
        int(datetime.combine(day.date, config.open_utc, UTC).timestamp()) * 1_000_000_000,
        int(config.hours * 3_600),
        # Nobody is a stranger yet.
        typologies=[name for name in wanted if number >= money.STRANGE_FROM.get(name, 0)],
        strength=config.strength,
        disguise=config.disguise,
    )


def _plain(value: object) -> str | int | float:
    if isinstance(value, int | float):
        return value
    return " ".join(value) if isinstance(value, tuple) else str(value)


def _singles(frame: Frame) -> Iterator[Message]:
    return (record_message("ticks", tick) for tick in single_ticks(frame))


def _records(day: Day, transfers: Sequence[Transfer], single: bool) -> Iterator[tuple[str, Iterable[Input]]]:
    if single:
        yield "documents", (_document(article) for article in day.articles)
    else:
        yield "news", (news for article in day.articles for news in article.news())
    yield "transcripts", day.transcripts
    yield "audio", day.audio
    yield "charts", day.charts
    yield "orders", day.orders
    yield "transfers", transfers


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
