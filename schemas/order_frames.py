"""Order frames: many order events of one instrument in columns, on the wire as one Arrow IPC stream.

| column | type | unit |
|---|---|---|
| ts_event, ts_available | int64 | ns UTC |
| action | uint8 | `Action` |
| side | int8 | +1 buy, -1 sell |
| price | float64 | quote currency; 0 at the market's price |
| size | float64 | units, as the action means it |
| order | int64 | the venue's number, or a 63-bit hash of its text |
| trade | int64 | the same for the trade of a fill, alike for both of its sides; 0 none |
| account, trader | int32 | place in the tables of names, -1 none |

``size`` is of a new order its quantity, of an amended one what is now open (``price`` its new limit), of a fill what
was filled at ``price``, and of one that ended otherwise what was left of it, 0 where that is not known.

The schema's metadata holds the instrument, the version, and the tables ``accounts`` and ``traders`` as lists in JSON.
Rows stand in order of arrival.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, get_args

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas.columns import Layout
from schemas.errors import BadMessage
from schemas.frames import Frame, named_as, trade_number
from schemas.records import PRICE_MAX, SIZE_MAX, OrderAction, OrderEvent


class Action(enum.IntEnum):
    """What a row of an order frame is."""

    NEW = 0
    AMEND = 1
    CANCEL = 2
    FILL = 3
    REJECT = 4
    EXPIRE = 5


FIELDS: tuple[tuple[str, pa.DataType], ...] = (
    ("ts_event", pa.int64()),
    ("ts_available", pa.int64()),
    ("action", pa.uint8()),
    ("side", pa.int8()),
    ("price", pa.float64()),
    ("size", pa.float64()),
    ("order", pa.int64()),
    ("trade", pa.int64()),
    ("account", pa.int32()),
    ("trader", pa.int32()),
)
LAYOUT = Layout(
    FIELDS,
    "schemas.order_frames",
    {"price": 0.0, "size": 0.0, "account": -1, "trader": -1},
    max_schema_bytes=1 << 21,  # an account and a trader a row, each with two pseudonyms
)
DTYPES = LAYOUT.dtypes
#: How every message begins: no JSON does.
MAGIC = b"\xff\xff\xff\xff"
MAX_NAME = 128


class OrderFrame(msgspec.Struct, frozen=True, eq=False):
    """Order events of one instrument, rows in order of arrival; every column is an array of shape (n,).

    ``account`` and ``trader`` are places in ``accounts`` and ``traders``, -1 where a row names none.
    """

    instrument: str
    accounts: tuple[str, ...]
    traders: tuple[str, ...]
    ts_event: npt.NDArray[np.int64]
    ts_available: npt.NDArray[np.int64]
    action: npt.NDArray[np.uint8]
    side: npt.NDArray[np.int8]
    price: npt.NDArray[np.float64]
    size: npt.NDArray[np.float64]
    order: npt.NDArray[np.int64]
    trade: npt.NDArray[np.int64]
    account: npt.NDArray[np.int32]
    trader: npt.NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.ts_event)

    def __getitem__(self, rows: slice | npt.NDArray[Any]) -> OrderFrame:
        """Return the frame of the rows picked by a slice, a mask or an index array; the tables stay whole."""
        columns = [getattr(self, name)[rows] for name in DTYPES]
        return OrderFrame(self.instrument, self.accounts, self.traders, *columns)


#: What holds many rows of one instrument, in order of arrival.
AnyFrame = Frame | OrderFrame


def order_frame_of(
    instrument: str,
    columns: Mapping[str, npt.ArrayLike],
    accounts: Sequence[str] = (),
    traders: Sequence[str] = (),
) -> OrderFrame:
    """Return a frame of the given columns; accounts and traders left out are none (-1), all else 0."""
    return OrderFrame(instrument, tuple(accounts), tuple(traders), *LAYOUT.filled(columns))


_ACTIONS: dict[OrderAction, int] = {action: at for at, action in enumerate(get_args(OrderAction))}
_SIDES = {"buy": 1, "sell": -1}


def of_events(events: Sequence[OrderEvent]) -> OrderFrame:
    """Return the frame of one or more order events of one instrument.

    Raises
    ------
    ValueError: there are none, or they are of several instruments.

    Example
    -------
    >>> event = OrderEvent(
    ...     ts_event=1, ts_available=2, instrument="ACME.XTOC", order_id="7", action="new", side="sell", price=5.0,
    ...     size=2.0, account="fund-1",
    ... )
    >>> frame = of_events([event])
    >>> frame.side.tolist(), frame.order.tolist(), frame.account.tolist(), frame.accounts, frame.trader.tolist()
    ([-1], [7], [0], ('fund-1',), [-1])
    """
    instruments = {event.instrument for event in events}
    if len(instruments) != 1:
        raise ValueError(f"an order frame holds events of one instrument, found {len(instruments)}: one frame each")
    accounts: dict[str, int] = {}
    traders: dict[str, int] = {}
    rows = [
        (
            event.ts_event, event.ts_available, _ACTIONS[event.action], _SIDES[event.side], event.price, event.size,
            trade_number(event.order_id), trade_number(event.trade_id),
            _place(accounts, event.account), _place(traders, event.trader),
        )
        for event in events
    ]  # fmt: skip
    columns = zip(DTYPES.values(), zip(*rows, strict=True), strict=True)
    arrays = [np.array(values, dtype) for dtype, values in columns]
    return OrderFrame(instruments.pop(), tuple(accounts), tuple(traders), *arrays)


def _place(table: dict[str, int], name: str) -> int:
    """Return a name's place in a table, which it enters where it is new; -1 where there is no name."""
    return table.setdefault(name, len(table)) if name else -1


def encode(frame: OrderFrame) -> bytes:
    """Return the frame as an Arrow IPC stream of one record batch, byte for byte what pyarrow's writer gives.

    Raises
    ------
    ValueError: the frame has no row, or more than `schemas.columns.MAX_ROWS`.
    """
    schema = schema_message(frame.instrument, frame.accounts, frame.traders)
    return LAYOUT.encode(schema, frame)


@lru_cache(maxsize=1_024)
def schema_message(instrument: str, accounts: tuple[str, ...], traders: tuple[str, ...]) -> bytes:
    """Return a stream's first message, which names instrument, accounts and traders."""
    named = {b"instrument": instrument.encode()}
    return LAYOUT.schema_message(
        named | {b"accounts": msgspec.json.encode(accounts), b"traders": msgspec.json.encode(traders)}
    )


def decode(value: bytes, key: bytes) -> OrderFrame:
    """Return the frame in a message, its columns read-only views of ``value``.

    Parameters
    ----------
    value: an Arrow IPC stream of one record batch, 1 to `schemas.columns.MAX_ROWS` rows, with the columns of `FIELDS`
        and no nulls.
    key: the message's key: the instrument that the schema's metadata names, in UTF-8.

    Raises
    ------
    BadMessage: reason "bad_frame" (structure), "wrong_key", "not_finite" or "out_of_range" (a row's values, a name).
    """
    end = 8 + int.from_bytes(value[4:8], "little")
    names = names_of(value[:end], key)
    frame = OrderFrame(*names, *(LAYOUT.as_written_here(value, end) or LAYOUT.parse(value)))
    _check_rows(frame)
    return frame


def names_of(first: bytes, key: bytes) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """Return what a stream's first message names: instrument, accounts and traders.

    Raises
    ------
    BadMessage: it is none of these columns, or names another instrument than ``key``.
    """
    return (_cached_names if len(first) <= CACHED_BYTES else _names)(first, key)


def _names(schema_message: bytes, key: bytes) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    metadata = LAYOUT.read_schema(schema_message)
    return named_as(metadata, key), _listed(metadata, "accounts"), _listed(metadata, "traders")


# To parse a first message takes longer than all the rest, and most were seen before.
CACHED_BYTES = 16_384
_cached_names = lru_cache(maxsize=1_024)(_names)
_table = msgspec.json.Decoder(tuple[str, ...]).decode


def _listed(metadata: Mapping[bytes, bytes], table: str) -> tuple[str, ...]:
    held = metadata.get(table.encode(), b"[]")
    try:
        held.decode()
        names = _table(held)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise LAYOUT.bad(f"a list of names in JSON as the schema's metadata {table}", repr(held[:40])) from None
    if any(not 1 <= len(name) <= MAX_NAME for name in names):
        raise BadMessage("out_of_range", f"{table}: expected names of 1 to {MAX_NAME} characters; -1 stands for none")
    return names


def _check_rows(frame: OrderFrame) -> None:
    _check_range("action", frame.action, 0, Action.EXPIRE, "see schemas.order_frames.Action")
    if not ((frame.side == 1) | (frame.side == -1)).all():
        raise BadMessage("out_of_range", "side: expected -1 (sell) or +1 (buy) in every row; name the side")
    for name, most in (("price", PRICE_MAX), ("size", SIZE_MAX)):
        column: npt.NDArray[np.float64] = getattr(frame, name)
        if not np.isfinite(column).all():
            raise BadMessage(
                "not_finite", f"{name}: expected finite numbers, found NaN or infinity; leave such rows out of a frame"
            )
        _check_range(name, column, 0.0, most, "correct or leave out the row")
    for name in ("order", "trade"):
        _check_range(name, getattr(frame, name), 0, 2**63 - 1, "number texts with schemas.frames.trade_number")
    for name, table in (("account", frame.accounts), ("trader", frame.traders)):
        remedy = f"a row that names none has -1, others a place among the {len(table)} {name}s of the metadata"
        _check_range(name, getattr(frame, name), -1, len(table) - 1, remedy)


def _check_range(name: str, column: npt.NDArray[Any], least: float, most: float, remedy: str) -> None:
    first, last = column.min().item(), column.max().item()
    if not least <= first <= last <= most:
        raise BadMessage(
            "out_of_range", f"{name}: expected {least:g} to {most:g}, found {first:g} to {last:g}; {remedy}"
        )
