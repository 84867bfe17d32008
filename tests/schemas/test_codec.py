"""What the codec takes, what it refuses and in which words, on messages written out by hand."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import codec, frames, records
from schemas.codec import BadMessage, Limits
from tests import messages

T = 1_700_000_000_000_000_000
MS = T // 10**6
ACME = b"ACME.XTOC"
TRADE: dict[str, Any] = {"type": "trade", "ts_event": T, "instrument": "ACME.XTOC", "price": 5.0, "size": 2.0}
DAY_NS = 86_400 * 10**9


def refused(topic: str, value: Any, key: bytes | None = ACME, timestamp_ms: int = MS) -> BadMessage:
    with pytest.raises(BadMessage) as caught:
        codec.decode(topic, key, value if isinstance(value, bytes) else json.dumps(value).encode(), timestamp_ms)
    assert caught.value.reason in codec.REASONS
    return caught.value


def trade(**changes: Any) -> records.Trade:
    value = codec.decode("ticks", ACME, json.dumps({**TRADE, **changes}).encode(), MS)
    assert isinstance(value, records.Trade)
    return value


def test_a_record_without_available_time_gets_kafkas() -> None:
    assert trade().ts_available == T
    assert trade(ts_available=T + 7).ts_available == T + 7


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"ts_available": T + 5 * 10**9}, None),  # 5 s after Kafka's timestamp
        ({"ts_available": T + 5 * 10**9 + 1}, "from_future"),
        ({"ts_event": T + 5 * 10**9}, None),  # 5 s after ts_available, which is Kafka's
        ({"ts_event": T + 5 * 10**9 + 1}, "from_future"),
        ({"ts_event": T - 7 * DAY_NS}, None),
        ({"ts_event": T - 7 * DAY_NS - 1}, "too_old"),
        ({"ts_event": T // 10**9}, "too_old"),  # seconds
        ({"ts_event": T // 10**6, "ts_available": T // 10**6}, "too_old"),  # milliseconds
        ({"ts_event": 2**63 - 1}, "from_future"),
        ({"ts_event": -1}, "out_of_range"),
        ({"ts_event": 2**63}, "out_of_range"),
    ],
)
def test_times_are_compared_with_what_the_message_carries(changes: dict[str, int], reason: str | None) -> None:
    if reason is None:
        trade(**changes)
    else:
        assert refused("ticks", {**TRADE, **changes}).reason == reason


def test_words_may_be_thirty_days_late_and_no_more() -> None:
    news = {"ts_event": T - 30 * DAY_NS, "instrument": "market", "document_id": "d", "headline": "h"}
    codec.decode("news", b"market", json.dumps(news).encode(), MS)
    assert refused("news", {**news, "ts_event": T - 30 * DAY_NS - 1}, b"market").reason == "too_old"


@pytest.mark.parametrize(
    ("written", "ns"),
    [
        ("2023-11-14T22:13:20Z", T),
        ("2023-11-14 22:13:20.000000001+00:00", T + 1),
        ("2023-11-14T23:13:20.25+0100", T + 250_000_000),
        ("2023-11-14T17:13:20,5-05:00", T + 500_000_000),
    ],
)
def test_written_times_are_read_to_the_nanosecond(written: str, ns: int) -> None:
    assert trade(ts_event=written).ts_event == ns


def test_a_written_time_without_zone_is_refused() -> None:
    assert refused("ticks", {**TRADE, "ts_event": "2023-11-14T22:13:20"}).reason == "no_zone"
    assert refused("orders", {"ts_event": "2023-11-14T22:13:20.5"}).reason == "no_zone"


def test_a_refusal_says_what_was_expected_found_and_to_be_done() -> None:
    bad = refused("ticks", {**TRADE, "price": -1.0})
    assert (bad.reason, bad.detail) == (
        "out_of_range",
        "Expected `float` >= 1e-15 - at `$.price`; compare it with docs/schemas/ticks.json",
    )
    assert refused("ticks", TRADE, b"OTHER.XTOC").detail == (
        "expected the key 'ACME.XTOC' that the record names, found b'OTHER.XTOC'; key the message by it"
    )


def test_a_payer_is_the_key_of_a_transfer() -> None:
    value = {"ts_event": T, "transfer_id": "t", "account": "a1", "counterparty": "a2", "amount": 1, "currency": "EUR"}
    codec.decode("transfers", b"a1", json.dumps(value).encode(), MS)
    assert refused("transfers", value, b"a2").reason == "wrong_key"


STATEMENT: dict[str, Any] = {
    "ts_event": T,
    "statement_id": "s",
    "account": "a1",
    "currency": "TWD",
    "limit": 1e5,
    "billed": [9e3, -20.0, 0.0, 0.0, 1.0, 2.0],
    "paid": [0.0] * 6,
    "delays": [2, 1, 0, -1, -2, 0],
}


def test_a_statement_is_keyed_by_its_account_and_holds_six_months() -> None:
    found = codec.decode("statements", b"a1", json.dumps(STATEMENT).encode(), MS)
    assert isinstance(found, records.Statement)
    assert found.billed[:2] == [9e3, -20.0]
    assert refused("statements", STATEMENT, b"a2").reason == "wrong_key"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"limit": 0.0}, "out_of_range"),
        ({"billed": [1.0] * 5}, "out_of_range"),
        ({"delays": [0] * 7}, "out_of_range"),
        ({"delays": [-3] + [0] * 5}, "out_of_range"),
        ({"delays": [0.5] + [0] * 5}, "wrong_type"),
        ({"paid": [-1.0] + [0.0] * 5}, "out_of_range"),
        ({"paid": None}, "wrong_type"),
    ],
)
def test_a_statement_that_no_ledger_gives_is_refused(changes: dict[str, Any], reason: str) -> None:
    assert refused("statements", STATEMENT | changes, b"a1").reason == reason


def test_unknown_fields_pass_so_that_producers_may_be_newer() -> None:
    assert trade(venue_flags=["x"]).price == 5.0


def test_limits_are_settable() -> None:
    with pytest.raises(BadMessage, match="too_large"):
        codec.decode("ticks", ACME, json.dumps(TRADE).encode(), MS, Limits(json_bytes=20))
    with pytest.raises(BadMessage, match="too_old"):
        codec.decode("ticks", ACME, json.dumps({**TRADE, "ts_event": T - 10}).encode(), MS, Limits(lag_ns=9))


def test_a_nan_is_not_sent() -> None:
    score = records.Score(
        ts_event=T, instrument="ACME.XTOC", window_start=T, window_end=T, scores={"risk": float("nan")}
    )
    with pytest.raises(ValueError, match="NaN"):
        codec.encode(score)
    headline = records.News(ts_event=T, instrument="market", document_id="d", headline="the null hypothesis")
    assert b"null" in codec.encode(headline)


def test_rows_of_a_frame_without_available_time_get_kafkas() -> None:
    columns = {"ts_event": [T, T + 1], "ts_available": [0, T + 2], "price": [5.0, 6.0], "size": [1.0, 1.0]}
    frame = codec.decode("frames", ACME, frames.encode(frames.frame_of("ACME.XTOC", columns)), MS)
    assert isinstance(frame, frames.Frame)
    assert frame.ts_available.tolist() == [T, T + 2]


def test_a_dead_letter_of_any_key_is_read_back() -> None:
    letter = records.DeadLetter(
        ts_event=T, topic="ticks", partition=0, offset=0, reason="wrong_key", detail="d", key=b"k" * 500_000
    )
    assert codec.decode("deadletters", b"ticks", codec.encode(letter), MS) == letter


def test_a_topic_without_records_is_an_error_of_the_caller() -> None:
    with pytest.raises(KeyError):
        codec.decode("checkpoints", b"k", b"v", MS)
    with pytest.raises(KeyError):
        codec.decode("tocsin.ticks", b"k", b"v", MS)


_PRICES = st.floats(min_value=records.PRICE_MIN, max_value=records.PRICE_MAX)
_SIZES = st.floats(min_value=records.SIZE_MIN, max_value=records.SIZE_MAX)
_TIMES = st.integers(min_value=0, max_value=7 * DAY_NS)
_LABELS = st.text(st.characters(codec="utf-8"), max_size=128)


@given(price=_PRICES, size=_SIZES, lag=_TIMES, side=st.sampled_from(["buy", "sell", "unknown"]), trade_id=_LABELS)
def test_trades_survive_the_way_there_and_back(price: float, size: float, lag: int, side: Any, trade_id: str) -> None:
    sent = records.Trade(
        ts_event=T - lag, ts_available=T, instrument="ACME.XTOC", price=price, size=size, side=side, trade_id=trade_id
    )
    assert codec.decode("ticks", ACME, codec.encode(sent), MS) == sent


@given(headline=st.text(st.characters(codec="utf-8")), body=st.text(st.characters(codec="utf-8")))
def test_news_survive_the_way_there_and_back(headline: str, body: str) -> None:
    sent = records.News(ts_event=T, ts_available=T, instrument="market", document_id="d", headline=headline, body=body)
    assert codec.decode("news", b"market", codec.encode(sent), MS) == sent


@given(payload=st.binary(min_size=1).map(lambda b: b + b), segment=st.integers(0, 2**31 - 1))
def test_sound_survives_the_way_there_and_back(payload: bytes, segment: int) -> None:
    sent = records.AudioSegment(
        ts_event=T,
        ts_available=T,
        instrument="ACME.XTOC",
        call_id="c",
        segment=segment,
        media_type="audio/L16",
        sample_rate_hz=8_000,
        payload=payload,
    )
    assert codec.decode("audio", ACME, codec.encode(sent), MS) == sent


def test_pictures_of_every_size_are_taken_as_declared() -> None:
    for width, height in ((1, 1), (640, 480), (4_096, 1)):
        for kind, draw in (("image/png", messages.png), ("image/jpeg", messages.jpeg)):
            sent = records.ChartSnapshot(
                ts_event=T,
                ts_available=T,
                instrument="ACME.XTOC",
                media_type=kind,  # type: ignore[arg-type]
                width=width,
                height=height,
                payload=draw(width, height),
            )
            assert codec.decode("charts", ACME, codec.encode(sent), MS) == sent


@given(rows=st.lists(st.tuples(_TIMES, _PRICES, _SIZES, st.sampled_from([-1, 0, 1])), min_size=1, max_size=30))
def test_frames_survive_the_way_there_and_back(rows: list[tuple[int, float, float, int]]) -> None:
    lag, price, size, side = (np.array(column) for column in zip(*rows, strict=True))
    sent = frames.frame_of(
        "ACME.XTOC",
        {"ts_event": T - lag, "ts_available": T + lag * 0, "price": price, "size": size, "side": side},
    )
    value = codec.encode(sent)
    read = codec.decode("frames", ACME, value, MS)
    assert isinstance(read, frames.Frame)
    for name in frames.DTYPES:
        np.testing.assert_array_equal(getattr(read, name), getattr(sent, name))
    assert codec.encode(read) == value
