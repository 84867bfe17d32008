"""The records that travel on topics: frozen values, times in int64 ns UTC.

Every record has ``ts_event`` (when it happened) and ``ts_available`` (when it could first be known). A producer that
leaves ``ts_available`` out gets Kafka's timestamp of the message. A new field of a released record has a default, and
the bytes of every released record are kept in tests/golden.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Side = Literal["buy", "sell", "unknown"]


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What every record has.

    ``ts_available`` 0 means "not given": the codec puts Kafka's timestamp of the message there.
    """

    ts_event: int
    ts_available: int = 0


# Ticks: what one instrument's feed says, one at a time. The gateway packs them into frames.


class Trade(Record, frozen=True, kw_only=True, tag="trade"):
    """One trade. ``price`` in quote currency, ``size`` in units of the instrument, ``side`` the aggressor's."""

    instrument: str
    price: float
    size: float
    side: Side = "unknown"
    trade_id: str = ""


class Correction(Record, frozen=True, kw_only=True, tag="correction"):
    """The venue restates trade ``trade_id``: what it was, and what it is now. ``ts_event`` is the original's."""

    instrument: str
    price: float
    size: float
    original_price: float
    original_size: float
    trade_id: str = ""


class Cancel(Record, frozen=True, kw_only=True, tag="cancel"):
    """The venue takes trade ``trade_id`` back. ``ts_event``, ``price`` and ``size`` are the original's."""

    instrument: str
    price: float
    size: float
    trade_id: str = ""


class Quote(Record, frozen=True, kw_only=True, tag="quote"):
    """Best bid and offer: prices in quote currency, sizes in units of the instrument."""

    instrument: str
    bid: float
    ask: float
    bid_size: float
    ask_size: float


class BookUpdate(Record, frozen=True, kw_only=True, tag="book"):
    """One level of the order book now has ``size`` (0 removes it). ``side`` "buy" is the bid side."""

    instrument: str
    side: Side
    price: float
    size: float


class Status(Record, frozen=True, kw_only=True, tag="status"):
    """Trading in the instrument was halted or resumed by its venue."""

    instrument: str
    status: Literal["halted", "trading"]


Tick = Trade | Correction | Cancel | Quote | BookUpdate | Status


class OrderEvent(Record, frozen=True, kw_only=True):
    """One event in the life of an order, as the venue or the broker reports it."""

    instrument: str
    order_id: str
    action: Literal["new", "amend", "cancel", "fill", "reject", "expire"]
    side: Side
    price: float
    size: float
    account: str = ""
    trader: str = ""
    trade_id: str = ""


class Bar(Record, frozen=True, kw_only=True):
    """Trades of one window ``[start, end)``: prices in quote currency, ``volume`` in units, ``notional`` price x size.

    ``ts_event`` is the window's end; ``ts_available`` is that of what closed it.
    """

    instrument: str
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

    document_id: str
    headline: str
    body: str = ""
    source: str = ""
    channel: Literal["news", "post"] = "news"
    language: str = "en"
    instruments: list[str] = []


class News(Record, frozen=True, kw_only=True):
    """A document as it concerns one instrument (``market`` where it names none)."""

    instrument: str
    document_id: str
    headline: str
    body: str = ""
    source: str = ""
    channel: Literal["news", "post"] = "news"
    language: str = "en"
    mentions: list[str] = []


class TranscriptSegment(Record, frozen=True, kw_only=True):
    """A few sentences of a call, after recognition: ``ts_event`` is the end of the speech."""

    instrument: str
    call_id: str
    segment: int
    text: str
    speaker: str = ""
    role: str = ""


class AudioSegment(Record, frozen=True, kw_only=True):
    """Sound of a call. On the wire: this header as JSON, then the payload's bytes (see `schemas.media`)."""

    instrument: str
    call_id: str
    segment: int
    media_type: Literal["audio/wav", "audio/flac", "audio/L16"]
    sample_rate_hz: int
    channels: int = 1
    payload: bytes = b""


class ChartSnapshot(Record, frozen=True, kw_only=True):
    """A picture of a chart, as a desk or a feed drew it. On the wire: this header as JSON, then the picture's bytes."""

    instrument: str
    media_type: Literal["image/png", "image/jpeg"]
    width: int
    height: int
    interval_s: int = 0
    payload: bytes = b""


class Transfer(Record, frozen=True, kw_only=True):
    """A payment between two accounts; keyed by ``account``, the payer."""

    transfer_id: str
    account: str
    counterparty: str
    amount: float
    currency: str


# What the monitor itself says.


class Score(Record, frozen=True, kw_only=True):
    """What the models say of one instrument at one moment.

    ``scores`` are calibrated probabilities in [0, 1]; ``statistics`` are anything else (z, logits, ratios).
    ``ages_ns`` tells how old each modality's embedding was; a modality that is missing is not in it.
    """

    instrument: str
    window_start: int
    window_end: int
    scores: dict[str, float]
    statistics: dict[str, float] = {}
    ages_ns: dict[str, int] = {}
    bundle: str = ""


class DeadLetter(Record, frozen=True, kw_only=True):
    """A message that could not be used: where it stood, why, and its bytes, so that it can be sent again.

    ``reason`` is one of a fixed list (`schemas.codec.REASONS`), ``detail`` one sentence: expected, found, remedy.
    ``value`` is cut to the first 64 KiB; ``size`` is the whole length in bytes.
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


TEXT_RECORDS = (News, TranscriptSegment)
