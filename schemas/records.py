"""The records that travel on topics: frozen values, times in int64 ns UTC.

Every record has ``ts_event`` (when it happened) and ``ts_available`` (when it could first be known). A producer that
leaves ``ts_available`` out gets Kafka's timestamp of the message. A new field of a released record has a default, and
the bytes of every released record are kept in tests/golden.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from schemas.alerts import DriftKind, Input, Severity

Side = Literal["buy", "sell", "unknown"]
OrderAction = Literal["new", "amend", "cancel", "fill", "reject", "expire"]

# Bounds that no market comes near, so that products and squares of what passes stay finite and no quotient overflows.
PRICE_MIN, PRICE_MAX = 1e-15, 1e15
SIZE_MIN, SIZE_MAX = 1e-24, 1e21
MAX_CHART_PX = 4_096

Nanoseconds = Annotated[int, Meta(ge=0, le=2**63 - 1, description="Nanoseconds since 1970, UTC.")]
Price = Annotated[float, Meta(ge=PRICE_MIN, le=PRICE_MAX, description="In quote currency.")]
Size = Annotated[float, Meta(ge=SIZE_MIN, le=SIZE_MAX, description="In units of the instrument.")]
Resting = Annotated[float, Meta(ge=0, le=SIZE_MAX, description="In units of the instrument; 0 where there is none.")]
#: Most characters of an instrument, and of a sector, whose name stands in its place where sectors are told of.
INSTRUMENT_CHARS = 64
Instrument = Annotated[str, Meta(min_length=1, max_length=INSTRUMENT_CHARS, description="`SYMBOL.VENUE`, or `market`.")]
Id = Annotated[str, Meta(min_length=1, max_length=128)]
Label = Annotated[str, Meta(max_length=128)]
Labels = Annotated[list[Label], Meta(max_length=256)]


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What every record has.

    ``ts_available`` 0 means "not given": the codec puts Kafka's timestamp of the message there.
    """

    ts_event: Nanoseconds
    ts_available: Nanoseconds = 0


# Ticks: what one instrument's feed says, one at a time. The gateway packs them into frames.


class Trade(Record, frozen=True, kw_only=True, tag="trade"):
    """One trade. ``price`` in quote currency, ``size`` in units of the instrument, ``side`` the aggressor's."""

    instrument: Instrument
    price: Price
    size: Size
    side: Side = "unknown"
    trade_id: Label = ""


class Correction(Record, frozen=True, kw_only=True, tag="correction"):
    """The venue restates trade ``trade_id``: what it was, and what it is now. ``ts_event`` is the original's."""

    instrument: Instrument
    price: Price
    size: Size
    original_price: Price
    original_size: Size
    trade_id: Label = ""


class Cancel(Record, frozen=True, kw_only=True, tag="cancel"):
    """The venue takes trade ``trade_id`` back. ``ts_event``, ``price`` and ``size`` are the original's."""

    instrument: Instrument
    price: Price
    size: Size
    trade_id: Label = ""


class Quote(Record, frozen=True, kw_only=True, tag="quote"):
    """Best bid and offer: prices in quote currency, sizes in units of the instrument."""

    instrument: Instrument
    bid: Price
    ask: Price
    bid_size: Resting
    ask_size: Resting


class BookUpdate(Record, frozen=True, kw_only=True, tag="book"):
    """One level of the order book now has ``size`` (0 removes it). ``side`` "buy" is the bid side."""

    instrument: Instrument
    side: Literal["buy", "sell"]
    price: Price
    size: Resting


class Status(Record, frozen=True, kw_only=True, tag="status"):
    """Trading in the instrument was halted or resumed by its venue."""

    instrument: Instrument
    status: Literal["halted", "trading"]


Tick = Trade | Correction | Cancel | Quote | BookUpdate | Status


class OrderEvent(Record, frozen=True, kw_only=True):
    """One event in the life of an order, as the venue or the broker reports it."""

    instrument: Instrument
    order_id: Id
    action: OrderAction
    side: Literal["buy", "sell"]
    price: Annotated[float, Meta(ge=0, le=PRICE_MAX, description="Limit in quote currency; 0 at the market's price.")]
    size: Resting
    account: Label = ""
    trader: Label = ""
    trade_id: Label = ""


class Bar(Record, frozen=True, kw_only=True):
    """Trades of one window ``[start, end)``: prices in quote currency, ``volume`` in units, ``notional`` price x size.

    ``ts_event`` is the window's end; ``ts_available`` is that of what closed it.
    """

    instrument: Instrument
    start: int
    end: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    notional: float
    buy_volume: float
    trades: int


# Words, sound, pictures.


class Document(Record, frozen=True, kw_only=True):
    """News or a post, as a feed gives it: the gateway finds the instruments that it names and sends each a `News`.

    ``instruments`` are symbols, ISINs or cashtags that the feed itself attached; what the text names is added to them.
    """

    document_id: Id
    headline: str
    body: str = ""
    source: Label = ""
    channel: Literal["news", "post"] = "news"
    language: Label = "en"
    instruments: Labels = []


class News(Record, frozen=True, kw_only=True):
    """A document as it concerns one instrument (``market`` where it names none)."""

    instrument: Instrument
    document_id: Id
    headline: str
    body: str = ""
    source: Label = ""
    channel: Literal["news", "post"] = "news"
    language: Label = "en"
    mentions: Labels = []


class TranscriptSegment(Record, frozen=True, kw_only=True):
    """A few sentences of a call, after recognition: ``ts_event`` is the end of the speech."""

    instrument: Instrument
    call_id: Id
    segment: Annotated[int, Meta(ge=0, le=2**31 - 1)]
    text: str
    speaker: Label = ""
    role: Label = ""


class AudioSegment(Record, frozen=True, kw_only=True):
    """Sound of a call. On the wire: this header as JSON, then the payload's bytes (see `schemas.media`)."""

    instrument: Instrument
    call_id: Id
    segment: Annotated[int, Meta(ge=0, le=2**31 - 1)]
    media_type: Literal["audio/wav", "audio/flac", "audio/L16"]
    sample_rate_hz: Annotated[int, Meta(ge=4_000, le=384_000)]
    channels: Annotated[int, Meta(ge=1, le=8)] = 1
    payload: bytes = b""


class ChartSnapshot(Record, frozen=True, kw_only=True):
    """A picture of a chart, as a desk or a feed drew it. On the wire: this header as JSON, then the picture's bytes."""

    instrument: Instrument
    media_type: Literal["image/png", "image/jpeg"]
    width: Annotated[int, Meta(ge=1, le=MAX_CHART_PX)]
    height: Annotated[int, Meta(ge=1, le=MAX_CHART_PX)]
    interval_s: Annotated[int, Meta(ge=0, le=10**9)] = 0
    payload: bytes = b""


class Transfer(Record, frozen=True, kw_only=True):
    """A payment between two accounts; keyed by ``account``, the payer."""

    transfer_id: Id
    account: Id
    counterparty: Id
    amount: Annotated[float, Meta(gt=0, le=1e18)]
    currency: Annotated[str, Meta(min_length=3, max_length=10)]


MONTHS = 6
Delay = Annotated[int, Meta(ge=-2, le=1_200)]
Money = Annotated[float, Meta(ge=-1e18, le=1e18)]


class Statement(Record, frozen=True, kw_only=True):
    """Six months of a counterparty's credit, the newest first; ``ts_event`` is the end of the newest.

    ``limit`` is the credit given. ``billed`` is what stood on each month's bill (negative where too much was paid),
    ``paid`` what was paid in each month, ``delays`` by how many months payment was late then: 0 the least that was due
    was paid, -1 all of it, -2 there was nothing to pay. Amounts are in ``currency``.
    """

    statement_id: Id
    account: Id
    currency: Annotated[str, Meta(min_length=3, max_length=10)]
    limit: Annotated[float, Meta(gt=0, le=1e18)]
    billed: Annotated[list[Money], Meta(min_length=MONTHS, max_length=MONTHS)]
    paid: Annotated[list[Annotated[float, Meta(ge=0, le=1e18)]], Meta(min_length=MONTHS, max_length=MONTHS)]
    delays: Annotated[list[Delay], Meta(min_length=MONTHS, max_length=MONTHS)]


# What the monitor itself says.


class Score(Record, frozen=True, kw_only=True):
    """What the models say of one instrument at one moment.

    ``scores`` are calibrated probabilities in [0, 1]; ``statistics`` are anything else (z, logits, ratios).
    ``ages_ns`` tells how old each modality's embedding was; a modality that is missing is not in it.
    """

    instrument: Instrument
    window_start: int
    window_end: int
    scores: dict[str, float]
    statistics: dict[str, float] = {}
    ages_ns: dict[str, int] = {}
    bundle: str = ""


Probability = Annotated[float, Meta(ge=0, le=1)]
Volatility = Annotated[float, Meta(ge=0, description="Standard deviation of the log return over the horizon.")]


class Forecast(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is foretold of the next stretch of ``horizon_ns`` in which the instrument trades, made at ``made_at``.

    ``volatility``, by Parkinson's measure of the range, is in log return units per horizon (0.01: one per cent); with
    four chances in five what comes lies in ``[low, high]``, a tenth on either side. ``p_up`` is the probability of a
    log return above 0, one of 0 counted half; ``p_adverse`` that of one below ``adverse_move`` (negative, two trailing
    volatilities of the instrument's own).
    """

    made_at: Nanoseconds
    horizon_ns: Nanoseconds
    volatility: Volatility
    low: Volatility
    high: Volatility
    p_up: Probability
    p_adverse: Probability
    adverse_move: Annotated[float, Meta(le=0, description="Log return.")]


class Sentiment(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is being said of the instrument, or of the sector's; ``newest`` is the time of the latest text.

    ``index`` is the mean of P(bullish) - P(bearish) over all texts, each weighted by 1/2 for every ``half_life_ns`` of
    its age; ``weight`` is the sum of those weights at the record's ``ts_event``. So the index of a group is the mean of
    its instruments' by weight, brought to one moment. ``texts`` is the number in the last ``window_ns``, ``expected``
    what the instrument's own past makes of a window, ``burst`` the probability of at least so many (a text that the
    record tells of is not counted in it): small is surprising. ``novelty`` of that text is 1 - the highest cosine to
    the instrument's texts before it: 0 says that it was heard before.
    """

    newest: Nanoseconds
    half_life_ns: Nanoseconds
    index: Annotated[float, Meta(ge=-1, le=1)]
    weight: Annotated[float, Meta(ge=0)]
    window_ns: Nanoseconds
    texts: Annotated[int, Meta(ge=0)]
    expected: Annotated[float, Meta(ge=0)] | None = None
    burst: Probability | None = None
    novelty: Probability | None = None


class Signal(Record, frozen=True, kw_only=True):
    """What a desk is told of an instrument: at a period's close what may come, at a new text what is being said.

    ``[window_start, window_end)`` is the period that closed, or the moment of the text. A group is missing where not
    enough is known. ``sector`` is the symbol master's. Of ``scope`` "sector" it is what is being said of all of its
    instruments, a text counted once, and ``instrument`` is the sector's name.
    """

    instrument: Instrument
    scope: Literal["instrument", "sector"] = "instrument"
    window_start: int
    window_end: int
    sector: Label = ""
    forecast: Forecast | None = None
    sentiment: Sentiment | None = None
    bundle: str = ""


class Drift(Record, frozen=True, kw_only=True):
    """Something of a ``subject`` is no longer what it was: of an instrument, of a sector, or of the market.

    ``ts_event`` is when enough of the new had happened to tell, ``since`` when it began, as far as can be told.
    ``kind`` is one of `schemas.alerts.DRIFT_KINDS`, ``stream`` what was watched, ``moved`` its level or its spread.
    ``before`` and ``after`` are medians of the stream (prices of a unit change, ns of a stale feed, the usual number of
    ``instruments`` and theirs), ``above`` the probability that a value of now is larger than one of before. ``values``
    are what they were told by, at most 128, oldest first, and ``times`` when each of them began: none where no detector
    rang. ``run_time`` is the budget that it was judged by: the expected number of values of the stream between two
    false alarms; ``p_value`` is there where the market's number of drifts was judged by one. ``drift_id`` tells one
    that is told again; ``evidence`` is the message that completed it.
    """

    subject: Instrument
    scope: Literal["instrument", "sector", "market"] = "instrument"
    drift_id: Id
    kind: DriftKind
    stream: Label
    since: Nanoseconds
    moved: Literal["", "level", "spread"] = ""
    before: float | None = None
    after: float | None = None
    above: Probability | None = None
    times: list[Nanoseconds] = []
    values: list[float] = []
    run_time: Annotated[float, Meta(ge=0)] | None = None
    p_value: Probability | None = None
    instruments: list[Instrument] = []
    asset_class: Label = ""
    sector: Label = ""
    config: Label = ""
    bundle: str = ""
    trace: str = ""
    evidence: list[Input] = []


class Half(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an account did in one instrument, which may be half of something.

    Its orders **rested** there, on ``side`` (+1 buy, -1 sell), until they were filled or withdrawn, or it took and so
    **pushed** the price that way. ``depths`` is how much, in median quoted sizes, ``moved`` how far, in the
    instrument's own standard deviations of such a time.
    """

    account: Id
    act: Literal["pushed", "rested"]
    side: Literal[-1, 1]
    start_ns: Nanoseconds
    end_ns: Nanoseconds
    depths: Annotated[float, Meta(ge=0)]
    moved: Annotated[float, Meta(ge=0)] = 0.0


class Moved(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """That an instrument of a ``sector`` ("" where it is not known) is no longer what it was, in a ``stream``."""

    stream: Label
    sector: Label = ""


class Spoken(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """That a text spoke of an instrument of a ``sector``, and how.

    ``tone`` is P(bullish) - P(bearish), ``vector`` its embedding (int8, a scale of its own), ``bundle`` whose encoder
    judged.
    """

    sector: Label
    tone: Annotated[float, Meta(ge=-1, le=1)]
    vector: bytes
    bundle: str = ""


class Opening(Record, frozen=True, kw_only=True):
    """An episode opened at an instrument: what the market's scope is told of it, once or more often.

    ``typology`` is name@version; ``episode_id`` tells one that is told again. With ``half`` it is no episode yet: the
    market's scope looks for the other half. With ``drift`` it is none either, and ``episode_id`` is the signal's; with
    ``spoken`` it is a text, and ``episode_id`` the same for all instruments that the text names.
    """

    instrument: Instrument
    typology: Label
    episode_id: Id
    severity: Severity
    score: Annotated[float, Meta(ge=0, le=1)]
    half: Half | None = None
    drift: Moved | None = None
    spoken: Spoken | None = None


#: What an analyst can find of an alert. Of a risk are the first two.
Verdict = Literal["confirmed_risk", "valuable_alert", "false_positive", "duplicate", "data_error"]


class Review(Record, frozen=True, kw_only=True):
    """A window that stayed below the threshold and is to be looked at all the same: drawn by chance, to learn from.

    ``typology`` is name@version, ``[window_start, window_end)`` the window, ``score`` its highest and ``threshold``
    what it stayed below; ``account`` is whose it is, "" where none is named. ``propensity`` is with what probability a
    window of that score is drawn: one that was drawn stands for 1 / propensity of them.
    """

    review_id: Id
    instrument: Instrument
    typology: Label
    account: Label = ""
    window_start: Nanoseconds
    window_end: Nanoseconds
    score: Probability
    threshold: Probability
    propensity: Annotated[float, Meta(gt=0, le=1)]
    config: Label


class Disposition(Record, frozen=True, kw_only=True):
    """What an ``author`` found of an episode, or of a review, at ``ts_event``; of several the last one counts.

    ``episode_id`` is the review's id where it is one, and ``alert_id`` then "". The rest is of the alert, so that what
    was found can be learnt from without it: ``typology`` (name@version), whom it concerns, the event's time, ``score``,
    and with what ``propensity`` it was looked at (an alert: 1).
    """

    episode_id: Id
    alert_id: Label = ""
    value: Verdict
    author: Label
    note: Annotated[str, Meta(max_length=4_096)] = ""
    typology: Label
    instrument: Instrument
    account: Label = ""
    event_start: Nanoseconds
    event_end: Nanoseconds
    score: Probability
    propensity: Annotated[float, Meta(gt=0, le=1)] = 1.0


class DeadLetter(Record, frozen=True, kw_only=True):
    """A message that could not be used: where it stood, why, and its bytes, so that it can be sent again.

    ``reason`` is one of a fixed list (`schemas.codec.REASONS`), ``detail`` one sentence: expected, found, remedy.
    ``value`` is cut to the first 64 KiB; ``size`` is the whole length in bytes. Where the monitor has a key for them,
    ``key``, ``value`` and ``headers`` are empty and lie encrypted in ``sealed``, by the key of the id ``sealed_by``;
    ``excerpt`` is the beginning of the value, without what names a person.
    """

    topic: str
    partition: int
    offset: int
    reason: str
    detail: str
    key: bytes = b""
    value: bytes = b""
    size: int = 0
    headers: dict[str, str] = {}
    excerpt: str = ""
    sealed: bytes = b""
    sealed_by: str = ""
