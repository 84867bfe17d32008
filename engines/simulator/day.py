"""A simulated market day, whole: ticks, words, voices, pictures, orders, payments, and labels of what was injected."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal, NamedTuple

import numpy as np

from engines import audio, charts
from engines.labels import Label
from engines.simulator import people, voices, words
from engines.simulator.events import ALL, BENIGN, PLAN, Event, Happened, place
from engines.simulator.flow import SECOND_NS, Floats, background, ticks_of, turmoil_after
from engines.simulator.lob import plan as lob_plan
from engines.simulator.lob import session
from engines.simulator.words import Company, Text
from schemas.frames import Frame, Kind
from schemas.order_frames import OrderFrame
from schemas.records import AudioSegment, ChartSnapshot, News, OrderEvent, TranscriptSegment, Transfer

_CHART_EVERY_S = 1_800
_CHART_MINUTES = 3  # a bar of a chart
_SENTENCES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What to simulate.

    ``model`` draws the tape: "flow", or a book in which orders meet, "agents" or "queues". ``open_utc`` is the
    session's begin; ``typologies`` are names in the model's plan, which `known` returns, or None for all that it has.
    """

    model: Literal["flow", "agents", "queues"] = "flow"
    seed: int = 7
    days: int = 1
    start: date = date(2025, 3, 3)
    open_utc: time = time(14, 30)
    hours: float = 6.5
    ticks_a_second: float = 13.0
    articles_an_hour: float = 25.0
    posts_an_hour: float = 50.0
    calls: int = 4
    typologies: tuple[str, ...] | None = None
    strength: float = 1.0
    disguise: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Article:
    """A document as written, with the keys of the instruments that it names."""

    document_id: str
    ts_event: int
    ts_available: int
    headline: str
    body: str
    source: str
    channel: str
    instruments: tuple[str, ...]
    tone: words.Tone = "neutral"

    def news(self) -> list[News]:
        """Return it once for each instrument that it names, or once for the market."""
        return [
            News(
                ts_event=self.ts_event,
                ts_available=self.ts_available,
                instrument=key,
                document_id=self.document_id,
                headline=self.headline,
                body=self.body,
                source=self.source,
                channel="post" if self.channel == "post" else "news",
                mentions=list(self.instruments),
            )
            for key in self.instruments or ("market",)
        ]


@dataclass(frozen=True, slots=True, eq=False)
class Day:
    """All of one day. Lists are in order of ``ts_available``; ``ticks`` has a frame an instrument, of its whole day.

    A book's order events are all in ``order_frames``, likewise; of the flow a sample of them is in ``orders``.
    """

    date: date
    ticks: list[Frame]
    articles: list[Article]
    transcripts: list[TranscriptSegment]
    audio: list[AudioSegment]
    charts: list[ChartSnapshot]
    orders: list[OrderEvent]
    order_frames: list[OrderFrame]
    transfers: list[Transfer]
    labels: list[Label]


def known(model: str) -> dict[str, int]:
    """Return the typologies of a model and how often each comes a day."""
    return PLAN if model == "flow" else lob_plan.PLAN


def chosen(config: Config) -> tuple[str, ...]:
    """Return the typologies that a configuration asks for."""
    if config.typologies is not None:
        return config.typologies
    return tuple(name for name, count in known(config.model).items() if count)


def simulate(config: Config, companies: list[Company]) -> Iterator[Day]:
    """Yield the days, weekends left out; each opens at the closes of the day before, the first is a usual one.

    The same configuration and companies give the same days, bit for bit, on the same version of numpy.

    Raises
    ------
    ValueError
        If a typology is unknown, there is no company, or the session is shorter than 10 minutes.
    """
    typologies = chosen(config)
    if unknown := [name for name in typologies if name not in known(config.model)]:
        raise ValueError(f"Unknown typology {', '.join(unknown)}; known are {', '.join(known(config.model))}.")
    if not companies or config.hours * 60 < 10:
        raise ValueError("Simulate at least one instrument and ten minutes (hours ≥ 0.17).")
    setup = np.random.default_rng([config.seed, 0])
    prices = np.asarray(np.round(np.exp(setup.normal(3.6, 0.7, len(companies))), 2), dtype=np.float64)
    activity = 1.0 / setup.permutation(np.arange(3, len(companies) + 3)) ** 0.7
    activity /= activity.sum()
    day, turmoil = config.start, np.ones(len(companies))
    for number in range(config.days):
        while day.weekday() >= 5:
            day += timedelta(days=1)
        made = _day(config, typologies, companies, day, number, prices, activity, turmoil)
        turmoil = turmoil_after(np.random.default_rng([config.seed, 1 + number, 2]), turmoil)
        prices = np.array([_close(frame, price) for frame, price in zip(made.ticks, prices, strict=False)])
        yield made
        day += timedelta(days=1)


def _close(frame: Frame, opening: float) -> float:
    trades = frame.price[frame.kind == Kind.TRADE]
    return float(trades[-1]) if len(trades) else opening


def _day(
    config: Config,
    typologies: tuple[str, ...],
    companies: list[Company],
    day: date,
    number: int,
    opening: Floats,
    activity: Floats,
    turmoil: Floats,
) -> Day:
    seconds = int(config.hours * 3600)
    open_ns = int(datetime.combine(day, config.open_utc, UTC).timestamp()) * SECOND_NS
    streams = np.random.SeedSequence([config.seed, 1 + number]).spawn(7 + len(companies))
    market, plan, text, pictures, people_rng = (np.random.default_rng(s) for s in streams[:5])
    prefix = f"{day:%Y%m%d}"

    base = background(market, opening, activity, seconds, config.ticks_a_second, turmoil)
    articles = _background_words(text, config, companies, seconds, open_ns)
    orders: list[OrderEvent] = []
    order_frames: list[OrderFrame] = []
    spoken: list[_Spoken] = []
    if config.model == "flow":
        events, effects = place(plan, typologies, activity, seconds, config.strength, config.disguise)
        ticks = [
            ticks_of(np.random.default_rng(streams[5 + i]), company.instrument, base, i, effects[i], open_ns)
            for i, company in enumerate(companies)
        ]
        happened = [_as_planned(k, event, companies, open_ns) for k, event in enumerate(events)]
        for i, frame in enumerate(ticks):
            mine = [(one.event, one.accounts) for one in happened if one.accounts and one.event.index == i]
            orders += people.orders_of(people_rng, frame, mine, open_ns, prefix)
    else:
        spoken = _calls(text, config, companies, seconds, open_ns, prefix)
        played = session.play(
            config.model,
            np.random.SeedSequence([config.seed, 1 + number, 1]),
            base,
            companies,
            activity,
            _heard(articles, spoken, companies, open_ns),
            typologies,
            strength=config.strength,
            disguise=config.disguise,
            open_ns=open_ns,
            number=number,
            first_order=int(f"{day:%y%m%d}") * 10**10,
        )
        ticks, order_frames, happened = played.ticks, played.orders, played.happened
    # Streams of their own, so that what else is written and said does not change with them.
    aside, voice = (np.random.default_rng(s) for s in streams[-2:])
    for one in happened:
        articles += _words_about(aside if one.event.index == ALL else text, one.event, companies, open_ns)
    articles.sort(key=lambda article: article.ts_available)
    articles = [replace(article, document_id=f"{prefix}-{k:05d}") for k, article in enumerate(articles)]
    if config.model == "flow":  # whose prices hear nothing; drawn last
        spoken = _calls(text, config, companies, seconds, open_ns, prefix)
    plots = [(one.event, one.accounts) for one in happened if one.event.typology == "pump_and_dump"]
    return Day(
        date=day,
        ticks=ticks,
        articles=articles,
        transcripts=[part.segment for part in spoken],
        audio=_sound(voice, spoken),
        charts=_charts(pictures, ticks[: len(companies)], seconds, open_ns),
        orders=sorted(orders, key=lambda order: (order.ts_available, order.order_id)),
        order_frames=order_frames,
        transfers=people.transfers_of(people_rng, plots, open_ns, seconds, prefix),
        labels=[
            Label(
                event_id=f"{prefix}-{k:02d}-{one.event.typology}",
                typology=one.event.typology,
                start_ns=one.start_ns,
                onset_ns=one.onset_ns,
                end_ns=one.end_ns,
                instruments=one.instruments,
                accounts=one.accounts,
                strength=config.strength,
                disguise=config.disguise,
                public_ns=0 if one.event.public_s is None else open_ns + one.event.public_s * SECOND_NS,
                benign=one.event.typology in BENIGN | lob_plan.BENIGN,
            )
            for k, one in enumerate(happened)
        ],
    )


def _as_planned(number: int, event: Event, companies: list[Company], open_ns: int) -> Happened:
    """Return an event of the flow, which comes out as it was planned; a pump has a ring of its own."""
    times = (open_ns + s * SECOND_NS for s in (event.start_s, event.onset_s, event.end_s))
    ring = people.ring_of(number) if event.typology == "pump_and_dump" else []
    return Happened(event, _concerned(event, companies), ring, *times)


def _heard(
    articles: list[Article], spoken: list[_Spoken], companies: list[Company], open_ns: int
) -> list[session.Heard]:
    """Return the words that move a price: written of one company, in news of the market, in adverse calls."""
    index = {company.instrument: i for i, company in enumerate(companies)}
    written = [
        session.Heard(
            (article.ts_available - open_ns) // SECOND_NS,
            index[article.instruments[0]] if article.instruments else ALL,
            article.tone,
            "post" if article.channel == "post" else "news",
        )
        for article in articles
        if article.tone != "neutral" and len(article.instruments) in ((1,) if article.channel == "post" else (0, 1))
    ]
    said = [
        session.Heard((segment.ts_available - open_ns) // SECOND_NS, index[segment.instrument], "bearish", "call")
        for segment, _, adverse in spoken
        if adverse
    ]
    return [*written, *said]


def _concerned(event: Event, companies: list[Company]) -> list[str]:
    if event.index == ALL:
        return ["market", *(company.instrument for company in companies)]
    return [companies[event.index].instrument]


def _article(
    rng: np.random.Generator,
    companies: list[Company],
    at_ns: int,
    channel: str,
    head: Text,
    body: str = "",
    tone: words.Tone = "neutral",
) -> Article:
    source = "newswire" if channel == "news" else f"@trader{int(rng.integers(1, 900))}"
    return Article(
        document_id="",
        ts_event=at_ns,
        ts_available=at_ns + int(rng.integers(50_000_000, 800_000_000)),
        headline=head.text,
        body=body,
        source=source,
        channel=channel,
        instruments=tuple(companies[i].instrument for i in head.named),
        tone=tone,
    )


def _cast(rng: np.random.Generator, n: int, first: int | None = None) -> tuple[int, ...]:
    """Return three companies, ``first`` ahead; with fewer than three listed, some come twice."""
    others = [int(i) for i in rng.permutation(n) if i != first]
    cast = others if first is None else [first, *others]
    return tuple((cast * 3)[:3])


def _background_words(
    rng: np.random.Generator, config: Config, companies: list[Company], seconds: int, open_ns: int
) -> list[Article]:
    n = len(companies)
    made = []
    for _ in range(round(config.articles_an_hour * config.hours)):
        at_ns = open_ns + int(rng.integers(0, seconds * SECOND_NS))
        mood = words.tone(rng, 0.12, 0.22)
        kind = rng.random()
        templates = words.MARKET_NEWS if kind < 0.15 else words.THREE if kind < 0.3 and n >= 3 else words.NEWS
        cast = _cast(rng, n)
        head = words.write(rng, words.pick(rng, templates[mood]), companies, cast)
        body = words.write(rng, words.pick(rng, words.BODIES[mood]), companies, cast).text
        made.append(_article(rng, companies, at_ns, "news", head, body, mood))
    for _ in range(round(config.posts_an_hour * config.hours)):
        at_ns = open_ns + int(rng.integers(0, seconds * SECOND_NS))
        mood = words.tone(rng, 0.15, 0.25)
        head = words.write(rng, words.pick(rng, words.POSTS[mood]), companies, _cast(rng, n))
        made.append(_article(rng, companies, at_ns, "post", head, tone=mood))
    return made


def _words_about(rng: np.random.Generator, event: Event, companies: list[Company], open_ns: int) -> list[Article]:
    if event.public_s is None:
        return []
    open_event_ns = open_ns + event.public_s * SECOND_NS
    if event.index == ALL:
        head = words.write(rng, words.pick(rng, words.MARKET_NEWS["bearish"]), companies, _cast(rng, len(companies)))
        return [_article(rng, companies, open_event_ns, "news", head)]
    cast = _cast(rng, len(companies), event.index)
    onset_ns = open_ns + event.onset_s * SECOND_NS
    made = []
    if event.typology == "pump_and_dump":
        for k in range(int(rng.integers(4, 8))):
            ahead_ns = int((onset_ns - open_event_ns) * (1 - k / 8))
            minutes = str(max(1, ahead_ns // (60 * SECOND_NS)))
            head = words.write(rng, words.pick(rng, words.PUMP_WARNING), companies, cast, minutes=minutes)
            made.append(_article(rng, companies, onset_ns - ahead_ns, "post", head))
        for delay_s in np.cumsum(rng.exponential(9.0, int(rng.integers(12, 24)))):
            head = words.write(rng, words.pick(rng, words.PUMP_CALL), companies, cast)
            made.append(_article(rng, companies, onset_ns - 3 * SECOND_NS + int(delay_s * SECOND_NS), "post", head))
        return made
    if event.typology == "trading_halt":
        head = words.write(rng, "Trading in {name} halted by the exchange, news pending", companies, cast)
        return [_article(rng, companies, open_event_ns, "news", head)]
    mood: words.Tone = "bearish" if event.typology == "news_shock" or event.side < 0 else "bullish"
    head = words.write(rng, words.pick(rng, words.NEWS[mood]), companies, cast)
    body = words.write(rng, words.pick(rng, words.BODIES[mood]), companies, cast).text
    made.append(_article(rng, companies, open_event_ns, "news", head, body))
    for delay_s in np.cumsum(rng.exponential(40.0, int(rng.integers(4, 9)))):
        post = words.write(rng, words.pick(rng, words.POSTS[mood]), companies, cast)
        made.append(_article(rng, companies, open_event_ns + int((20 + delay_s) * SECOND_NS), "post", post))
    return made


class _Spoken(NamedTuple):
    """A segment of a call, the mean ``stress`` in [0, 1] with which such a thing is said in such a call, and whether it
    is ``adverse``: a sentence of it is."""

    segment: TranscriptSegment
    stress: float
    adverse: bool


def _calls(
    rng: np.random.Generator, config: Config, companies: list[Company], seconds: int, open_ns: int, prefix: str
) -> list[_Spoken]:
    """Return segments of calls; each call has one mood, which most of what is said does not show."""
    made = []
    for index in rng.permutation(len(companies))[: config.calls]:
        company = companies[int(index)]
        bearish, bullish = ((0.35, 0.02), (0.05, 0.15), (0.03, 0.35))[int(rng.integers(3))]
        at_ns = open_ns + int(rng.integers(0, max(1, seconds // 2))) * SECOND_NS
        for segment in range(int(rng.integers(18, 32))):
            at_ns += int(rng.uniform(15, 30) * SECOND_NS)
            if at_ns > open_ns + seconds * SECOND_NS:
                break
            said, adverse = [], 0
            for _ in range(_SENTENCES):
                mood = words.tone(rng, bearish, bullish)
                adverse += mood == "bearish"
                template = words.pick(rng, words.CALL[mood])
                said.append(words.write(rng, template, companies, (int(index),) * 3, spoken=True).text)
            heard = TranscriptSegment(
                ts_event=at_ns,
                ts_available=at_ns + int(rng.integers(400_000_000, 1_500_000_000)),
                instrument=company.instrument,
                call_id=f"{prefix}-{company.symbol}",
                segment=segment,
                text=" ".join(said),
                speaker="chief executive" if segment % 3 else "chief financial officer",
                role="management",
            )
            made.append(_Spoken(heard, 0.2 + 1.2 * bearish + 0.3 * adverse / _SENTENCES, adverse > 0))
    return sorted(made, key=lambda part: (part.segment.ts_available, part.segment.instrument))


def _sound(rng: np.random.Generator, spoken: list[_Spoken]) -> list[AudioSegment]:
    """Return two to three seconds of sound of each segment, there before the recogniser has understood it."""
    lines: dict[str, voices.Line] = {}
    speakers: dict[tuple[str, str], voices.Speaker] = {}
    made = []
    for segment, mean, _ in spoken:
        if segment.call_id not in lines:
            lines[segment.call_id] = voices.line(rng)
        if (person := (segment.call_id, segment.speaker)) not in speakers:
            speakers[person] = voices.speaker(rng)
        stress = float(np.clip(rng.normal(mean, 0.1), 0.0, 1.0))
        samples = voices.speak(rng, speakers[person], lines[segment.call_id], stress, float(rng.uniform(2.0, 3.0)))
        made.append(
            AudioSegment(
                ts_event=segment.ts_event,
                ts_available=segment.ts_event + int(rng.integers(50_000_000, 350_000_000)),
                instrument=segment.instrument,
                call_id=segment.call_id,
                segment=segment.segment,
                media_type="audio/wav",
                sample_rate_hz=audio.SAMPLE_RATE_HZ,
                payload=audio.wav(samples),
            )
        )
    return sorted(made, key=lambda part: (part.ts_available, part.instrument))


def _charts(rng: np.random.Generator, ticks: list[Frame], seconds: int, open_ns: int) -> list[ChartSnapshot]:
    """Return a picture of each instrument's last hour every half hour, in bars of three whole minutes."""
    minutes = charts.BARS * _CHART_MINUTES
    made = []
    for frame in ticks:
        bars = people.minute_bars(frame, open_ns, seconds)
        offset_s = int(rng.integers(0, 60))
        for at_s in range(_CHART_EVERY_S, seconds, _CHART_EVERY_S):
            seen = np.full((minutes, 5), np.nan)
            known = bars[max(0, at_s // 60 - minutes) : at_s // 60]
            seen[minutes - len(known) :] = known
            by_bar = seen.reshape(charts.BARS, _CHART_MINUTES, 5)
            shown = np.stack(
                [
                    by_bar[:, 0, 0],
                    by_bar[:, :, 1].max(axis=1),
                    by_bar[:, :, 2].min(axis=1),
                    by_bar[:, -1, 3],
                    by_bar[:, :, 4].sum(axis=1),
                ],
                axis=1,
            )
            shown[np.isnan(shown).any(axis=1)] = np.nan  # before the first trade
            (picture,) = charts.draw(shown[None], charts.PLAIN)
            at_ns = open_ns + at_s * SECOND_NS
            made.append(
                ChartSnapshot(
                    ts_event=at_ns,
                    ts_available=at_ns + (10 + offset_s) * SECOND_NS,
                    instrument=frame.instrument,
                    media_type="image/png",
                    width=charts.WIDTH_PX,
                    height=charts.HEIGHT_PX,
                    interval_s=60 * _CHART_MINUTES,
                    payload=charts.png(picture),
                )
            )
    return sorted(made, key=lambda chart: (chart.ts_available, chart.instrument))
