"""A simulated market as messages, day after day, written as a recording or not."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, nullcontext
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from engines.instruments import SymbolMaster
from engines.labels import Label
from engines.order_findings import OrderConfig
from engines.sessions import Session
from engines.simulator import money
from engines.simulator import talk as said
from engines.simulator.day import Article, Config, Day, chosen, simulate
from engines.simulator.talk import Talk
from engines.simulator.words import Company
from monitor.converters.messages import Input, frame_messages, merged, record_message, single_ticks
from monitor.feed import Played, send, stopping
from monitor.kafka import require_topics
from monitor.recording_writer import RecordingWriter
from monitor.recordings import Message
from monitor.settings import Settings
from schemas.frames import Frame
from schemas.records import Document

#: Of each day what was injected, and its messages.
Made = Generator[tuple[list[Label], Iterator[Message]]]


def companies_of(master: SymbolMaster, instruments: int | None = None) -> list[Company]:
    """Return the first ``instruments`` listings of a symbol master as companies that the simulator can write about."""
    listings = list(master.listings.values())[:instruments]
    return [Company(listing.instrument, listing.symbol, listing.name or listing.symbol) for listing in listings]


def topics_of(*, single: bool) -> tuple[str, ...]:
    """Return the topics of what is simulated, in the order in which messages of one time stand."""
    ticks, words = ("ticks", "documents") if single else ("frames", "news")
    return ticks, "orders", words, "transcripts", "audio", "charts", "transfers"


def write(
    path: Path,
    config: Config,
    companies: list[Company],
    *,
    single: bool = False,
    payments: Sequence[str] = (),
    talk: Sequence[str] = (),
    progress: Callable[[float], None] = lambda share: None,
) -> list[Label]:
    """Simulate and write a recording; see `days_of`. Returns what was injected."""
    made = days_of(config, companies, path=path, single=single, payments=payments, talk=talk, progress=progress)
    return write_all(made)


def write_all(made: Made) -> list[Label]:
    """Take all messages of some days, so that they are written; return what was injected."""
    labels: list[Label] = []
    for injected, messages in made:
        labels += injected
        deque(messages, maxlen=0)
    return labels


def send_all(
    made: Made,
    settings: Settings,
    *,
    single: bool = False,
    speed: float | None = 1.0,
    on_progress: Callable[[Played], None] | None = None,
) -> Played:
    """Send some days to Kafka, each as it is made, until SIGINT or SIGTERM; see `monitor.feed.play`.

    The pace begins anew with each day: nobody waits for a night to pass. Nothing is on its way while a day is made.
    """
    topics, played = topics_of(single=single), Played()
    asyncio.run(require_topics(settings, topics))

    async def day(messages: Iterator[Message]) -> None:
        numbered, stop = enumerate(messages, played.position), stopping()
        await send(numbered, settings, topics, played, speed=speed, stop=stop, on_progress=on_progress)
        played.stopped |= stop.is_set()  # while a day's last messages were awaited

    with closing(made):
        for _, messages in made:
            asyncio.run(day(messages))
            if played.stopped:
                break
    return played


def days_of(
    config: Config,
    companies: list[Company],
    *,
    path: Path | None = None,
    single: bool = False,
    payments: Sequence[str] = (),
    talk: Sequence[str] = (),
    progress: Callable[[float], None] = lambda share: None,
) -> Made:
    """Simulate day after day; of each, yield what was injected and the messages, in order of ``ts_available``.

    Messages are frames and news or, if ``single``, single ticks and documents: what feeds send and the gateway packs.

    Parameters
    ----------
    path
        Folder of a recording, into which messages are written as they are taken; it is whole after the last. None
        where nothing is to be written.
    payments
        Typologies of `engines.simulator.money` that are injected into the day's payments.
    talk
        What of `engines.simulator.talk` is said and written beside the day's words.
    progress
        Is told the share that was taken, in [0, 1].

    Raises
    ------
    RecordingError
        If ``path`` exists.
    ValueError
        If the configuration cannot be simulated.
    """
    asked = {"typologies": chosen(config), "payments": tuple(payments), "talk": tuple(talk)}
    parameters = {
        key: _plain(value) for key, value in (asdict(config) | asked | {"instruments": len(companies)}).items()
    }
    people, opened = money.economy(config.seed), dict[str, str]()
    labels: list[Label] = []
    with RecordingWriter(path, source="simulator", parameters=parameters) if path else nullcontext() as writer:

        def taken(messages: Iterable[Message], number: int, open_ns: int) -> Iterator[Message]:
            for message in messages:
                if writer:
                    writer.append(message)
                yield message
                progress((number + (message.ts_available - open_ns) / (config.hours * 3.6e12)) / config.days)

        for number, day in enumerate(simulate(config, companies)):
            open_ns = int(datetime.combine(day.date, config.open_utc, UTC).timestamp()) * 1_000_000_000
            paid = _payments(config, people, day, number, open_ns, payments)
            beside = said.day(config, companies, day.articles, day.date, number, open_ns, talk)
            injected = [*day.labels, *beside.labels, *paid.labels]
            labels += injected
            opened |= paid.names
            yield injected, taken(merged(_streams(day, beside, paid, single)), number, open_ns)
        if writer:
            writer.add_labels(labels)
            writer.bring("accounts", people.accounts_csv(config.start, opened))
            writer.bring("sanctions", people.listed_csv())
            if rules := _hours(config):
                writer.bring("rules", rules)


def _payments(
    config: Config, people: money.Economy, day: Day, number: int, open_ns: int, wanted: Sequence[str]
) -> money.Paid:
    return money.day(
        config.seed,
        people,
        day.date,
        number,
        open_ns,
        int(config.hours * 3_600),
        # Nobody is a stranger yet.
        typologies=[name for name in wanted if number >= money.STRANGE_FROM.get(name, 0)],
        strength=config.strength,
        disguise=config.disguise,
    )


def _hours(config: Config) -> str:
    """Return rules with the hours of the session, "" where they are what is known of the simulator's venues."""
    opened = datetime.combine(config.start, config.open_utc)
    closed = opened + timedelta(minutes=math.ceil(60 * config.hours))
    known, session = OrderConfig().sessions, Session(open=f"{opened:%H:%M}", close=f"{closed:%H:%M}")
    if all(one == session for one in known.values()):
        return ""
    hours = "".join(f'  {venue}: {{open: "{session.open}", close: "{session.close}"}}\n' for venue in known)
    return f"version: {session.open.replace(':', '.')}-{session.close.replace(':', '.')}\nsessions:\n{hours}"


def _plain(value: object) -> str | int | float:
    if isinstance(value, int | float):
        return value
    return " ".join(value) if isinstance(value, tuple) else str(value)


def _singles(frame: Frame) -> Iterator[Message]:
    return (record_message("ticks", tick) for tick in single_ticks(frame))


def _streams(day: Day, beside: Talk, paid: money.Paid, single: bool) -> list[Iterable[Message]]:
    """Return the messages of a day, a topic after the other as `topics_of` has them."""
    _, orders, words, transcripts, audio, charts, transfers = topics_of(single=single)

    def messages(topic: str, *records: Iterable[Input]) -> list[Iterable[Message]]:
        return [map(partial(record_message, topic), some) for some in records]

    written = [
        [_document(one) for one in some] if single else [news for one in some for news in one.news()]
        for some in (day.articles, beside.articles)
    ]
    return [
        *(_singles(frame) if single else frame_messages(frame) for frame in day.ticks),
        *(frame_messages(frame) for frame in day.order_frames),
        *messages(orders, day.orders),
        *messages(words, *written),
        *messages(transcripts, day.transcripts, beside.transcripts),
        *messages(audio, day.audio),
        *messages(charts, day.charts),
        *messages(transfers, day.transfers, paid.transfers),
    ]


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
