"""The one table of topics: name, key, record, scope, partitions and retention.

`tocsin topics create|check`, the published JSON Schemas and the AsyncAPI document are all made from it.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from schemas import alerts, control, journal, records

DAY_MS = 86_400_000
Codec = Literal["json", "arrow", "json or arrow", "media", "bytes"]
Scope = Literal["instrument", "account", "market", "none"]


class Topic(msgspec.Struct, frozen=True, kw_only=True):
    """One topic. ``name`` is without the prefix; ``key`` says what the message's key is.

    ``records`` are the types of its values. ``copartitioned`` topics all have the same number of partitions;
    ``partitions`` is the number of those that must have another (0: as many as the keyed ones).
    """

    name: str
    key: str
    records: tuple[type, ...]
    codec: Codec
    scope: Scope
    retention_ms: int
    compacted: bool = False
    copartitioned: bool = True
    partitions: int = 0
    doc: str


TOPICS: tuple[Topic, ...] = (
    Topic(
        name="ticks",
        key="instrument",
        records=(
            records.Trade,
            records.Correction,
            records.Cancel,
            records.Quote,
            records.BookUpdate,
            records.Status,
        ),
        codec="json",
        scope="none",
        retention_ms=DAY_MS,
        doc="Single trades, quotes and book updates; the gateway packs them into frames.",
    ),
    Topic(
        name="documents",
        key="any",
        records=(records.Document,),
        codec="json",
        scope="none",
        retention_ms=7 * DAY_MS,
        doc="News and posts as feeds give them; the gateway sends one to each instrument that it names.",
    ),
    Topic(
        name="frames",
        key="instrument",
        records=(),
        codec="arrow",
        scope="instrument",
        retention_ms=7 * DAY_MS,
        doc="Many ticks of one instrument in columns (Arrow IPC stream).",
    ),
    Topic(
        name="orders",
        key="instrument",
        records=(records.OrderEvent,),
        codec="json or arrow",
        scope="instrument",
        retention_ms=7 * DAY_MS,
        doc="Order events: single ones, or many of one instrument in columns (Arrow IPC stream).",
    ),
    Topic(
        name="news",
        key="instrument",
        records=(records.News,),
        codec="json",
        scope="instrument",
        retention_ms=30 * DAY_MS,
        doc="Documents, one for each instrument concerned; key `market` where none is.",
    ),
    Topic(
        name="transcripts",
        key="instrument",
        records=(records.TranscriptSegment,),
        codec="json",
        scope="instrument",
        retention_ms=30 * DAY_MS,
        doc="Segments of calls, recognised.",
    ),
    Topic(
        name="audio",
        key="instrument",
        records=(records.AudioSegment,),
        codec="media",
        scope="instrument",
        retention_ms=7 * DAY_MS,
        doc="Segments of calls, sound.",
    ),
    Topic(
        name="charts",
        key="instrument",
        records=(records.ChartSnapshot,),
        codec="media",
        scope="instrument",
        retention_ms=7 * DAY_MS,
        doc="Pictures of charts.",
    ),
    Topic(
        name="transfers",
        key="account",
        records=(records.Transfer,),
        codec="json",
        scope="account",
        retention_ms=30 * DAY_MS,
        copartitioned=False,
        partitions=1,
        doc="Payments between accounts, keyed by the payer: one graph, in one order.",
    ),
    Topic(
        name="statements",
        key="account",
        records=(records.Statement,),
        codec="json",
        scope="account",
        retention_ms=30 * DAY_MS,
        copartitioned=False,
        partitions=1,
        doc="Six months of a counterparty's limit, bills, payments and delays.",
    ),
    Topic(
        name="accounts.journal",
        key="partition",
        records=(journal.Entry, journal.Claim),
        codec="json",
        scope="account",
        retention_ms=30 * DAY_MS,
        copartitioned=False,
        partitions=1,
        doc="The journal of the accounts' scope.",
    ),
    Topic(
        name="accounts.checkpoints",
        key="state key",
        records=(),
        codec="bytes",
        scope="account",
        retention_ms=-1,
        compacted=True,
        copartitioned=False,
        partitions=1,
        doc="The state of every account; a checkpoint counts once its closing record is there.",
    ),
    Topic(
        name="journal",
        key="partition",
        records=(journal.Entry, journal.Claim),
        codec="json",
        scope="instrument",
        retention_ms=30 * DAY_MS,
        doc="What was applied, in order, and all else that changed a decision.",
    ),
    Topic(
        name="checkpoints",
        key="state key",
        records=(),
        codec="bytes",
        scope="instrument",
        retention_ms=-1,
        compacted=True,
        doc="State of every instrument; a checkpoint counts once its closing record is there.",
    ),
    Topic(
        name="scores",
        key="instrument",
        records=(records.Score,),
        codec="json",
        scope="instrument",
        retention_ms=7 * DAY_MS,
        doc="What the models say.",
    ),
    Topic(
        name="signals",
        key="instrument",
        records=(records.Signal,),
        codec="json",
        scope="instrument",
        retention_ms=7 * DAY_MS,
        doc="Forecasts of volatility, direction and adverse moves, and what is being said: for trading desks.",
    ),
    Topic(
        name="drift",
        key="subject",
        records=(records.Drift,),
        codec="json",
        scope="instrument",
        retention_ms=30 * DAY_MS,
        doc="What is no longer as it was: of the market, and of the data.",
    ),
    Topic(
        name="alerts",
        key="episode_id",
        records=(alerts.AlertEvent,),
        codec="json",
        scope="instrument",
        retention_ms=365 * DAY_MS,
        doc="Alerts in CloudEvents 1.0 envelopes, in the partition of the input that raised them.",
    ),
    Topic(
        name="reviews",
        key="instrument",
        records=(records.Review,),
        codec="json",
        scope="instrument",
        retention_ms=365 * DAY_MS,
        doc="What stayed below its threshold and is to be looked at all the same, drawn by chance.",
    ),
    Topic(
        name="dispositions",
        key="episode_id",
        records=(records.Disposition,),
        codec="json",
        scope="none",
        retention_ms=-1,
        copartitioned=False,
        partitions=1,
        doc="What analysts found of alerts and reviews: labels to learn from, all of their history.",
    ),
    Topic(
        name="market",
        key="market",
        records=(records.Opening,),
        codec="json",
        scope="market",
        retention_ms=7 * DAY_MS,
        copartitioned=False,
        partitions=1,
        doc="Episodes that opened, halves of what spans instruments, drifts, texts: input of the market's scope.",
    ),
    Topic(
        name="market.journal",
        key="partition",
        records=(journal.Entry, journal.Claim),
        codec="json",
        scope="market",
        retention_ms=30 * DAY_MS,
        copartitioned=False,
        partitions=1,
        doc="The journal of the market's scope.",
    ),
    Topic(
        name="market.checkpoints",
        key="state key",
        records=(),
        codec="bytes",
        scope="market",
        retention_ms=-1,
        compacted=True,
        copartitioned=False,
        partitions=1,
        doc="The state of the market's scope.",
    ),
    Topic(
        name="control",
        key="name",
        records=(control.RuleChange, control.Promotion),
        codec="json",
        scope="none",
        retention_ms=-1,
        compacted=True,
        copartitioned=False,
        partitions=1,
        doc="What people tell the running monitor. Keys: `rules/VERSION` of rules, `models/ID/TIME` of promotions.",
    ),
    Topic(
        name="deadletters",
        key="source topic",
        records=(records.DeadLetter,),
        codec="json",
        scope="none",
        retention_ms=30 * DAY_MS,
        copartitioned=False,
        doc="What could not be used, with its position and reason.",
    ),
)

BY_NAME: dict[str, Topic] = {topic.name: topic for topic in TOPICS}
#: Topics whose values are frames, or may be.
FRAMED = frozenset(topic.name for topic in TOPICS if topic.codec in ("arrow", "json or arrow"))

#: Inputs of the instrument stage in the order that breaks ties of ``ts_available``.
INSTRUMENT_INPUTS: tuple[str, ...] = ("frames", "orders", "news", "transcripts", "audio", "charts")
#: Inputs of the account stage.
ACCOUNT_INPUTS: tuple[str, ...] = ("transfers", "statements")
#: What feeds send and stages read: all that a history is replayed from.
HISTORY_INPUTS = (*INSTRUMENT_INPUTS, *ACCOUNT_INPUTS)
#: What alerts of accounts name in an instrument's place.
ACCOUNTS = "accounts"
#: Inputs of the market stage.
MARKET_INPUTS: tuple[str, ...] = ("market",)
#: The key of all that concerns no single instrument.
MARKET = "market"
#: What stands in an instrument's place and is none.
NO_INSTRUMENTS = frozenset({MARKET, ACCOUNTS})
