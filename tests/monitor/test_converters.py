"""Converters: counts against what the sets say of themselves, and small made sets for what goes wrong in them."""

from __future__ import annotations

import gzip
import re
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engines.instruments import SymbolMaster
from monitor.converters.conversion import convert
from monitor.converters.messages import cut, frame_messages, single_orders, single_ticks
from monitor.errors import StartupError
from monitor.recordings import Recording
from schemas import codec, frames, order_frames
from schemas.frames import Frame, Kind, frame_of
from schemas.order_frames import Action, of_events, order_frame_of
from schemas.records import News, Statement, Trade, TranscriptSegment

SECOND_NS = 10**9


def rows_of(recording: Recording) -> Frame:
    """Return all ticks of a recording of one instrument in one frame."""
    parts = [frames.decode(m.value, m.key) for m in recording.messages(["frames"])]
    names = frames.DTYPES
    return frame_of(parts[0].instrument, {n: np.concatenate([getattr(p, n) for p in parts]) for n in names})


def check_every_message(recording: Recording) -> int:
    """Decode every message as the daemon would; return how many there are."""
    count = 0
    for message in recording.messages():
        codec.decode(message.topic, message.key, message.value, message.timestamp_ms)
        count += 1
    return count


def ns(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * SECOND_NS


# Frames.


def ticks(available_s: list[float]) -> Frame:
    at = (np.array(available_s) * SECOND_NS).astype(np.int64) + ns("2025-03-03")
    n = len(at)
    columns = {
        "ts_event": at,
        "ts_available": at,
        "kind": np.zeros(n),
        "price": np.ones(n),
        "size": np.arange(1, n + 1),
    }
    return frame_of("ACME.XTOC", columns)


def test_a_frame_closes_at_500_ticks_or_one_second() -> None:
    assert [len(part) for part in cut(ticks([0.0, 0.5, 0.999, 1.0, 1.5, 4.0]))] == [3, 2, 1]
    assert [len(part) for part in cut(ticks([0.0] * 1_201))] == [500, 500, 201]


def test_a_frame_is_available_with_its_last_row() -> None:
    first, second = frame_messages(ticks([0.0, 0.7501, 2.0]))
    assert first.ts_available == ns("2025-03-03") + 750_100_000
    assert first.timestamp_ms == (ns("2025-03-03") + 751_000_000) // 10**6
    assert second.ts_available == ns("2025-03-03") + 2 * SECOND_NS


def test_single_orders_are_the_frame_again() -> None:
    at = np.arange(1, 7) * SECOND_NS + ns("2025-03-03")
    columns = {
        "ts_event": at,
        "ts_available": at + 5,
        "action": list(Action),
        "side": [1, -1, 1, -1, 1, -1],
        "price": [10.0, 10.5, 0.0, 9.5, 10.0, 10.0],
        "size": [5.0, 4.0, 0.0, 3.0, 2.0, 1.0],
        "order": np.arange(6) + 7,
        "trade": [0, 0, 0, 9, 0, 0],
        "account": [0, 1, -1, 0, 1, 0],
        "trader": [0, -1, 0, 0, 0, -1],
    }
    frame = order_frame_of("ACME.XTOC", columns, ("a1", "a2"), ("t1",))
    again = of_events(list(single_orders(frame)))
    for name in frame.__struct_fields__:
        np.testing.assert_array_equal(getattr(again, name), getattr(frame, name), err_msg=name)


def test_a_long_frame_of_orders_is_cut_into_messages_of_their_topic() -> None:
    at = np.arange(5) * (SECOND_NS // 2) + ns("2025-03-03")
    columns = {"ts_event": at, "ts_available": at, "side": np.ones(5), "account": np.zeros(5)}
    frame = order_frame_of("ACME.XTOC", columns, ("a1",))
    made = list(frame_messages(frame))
    assert [(one.topic, one.key, one.ts_available) for one in made] == [
        ("orders", b"ACME.XTOC", int(at[last])) for last in (1, 3, 4)
    ]
    read = [order_frames.decode(one.value, one.key) for one in made]
    assert [(len(one), one.accounts) for one in read] == [(2, ("a1",)), (2, ("a1",)), (1, ("a1",))]


def test_single_ticks_are_the_frame_again() -> None:
    at = np.arange(1, 8) * SECOND_NS + ns("2025-03-03")
    nan = np.nan
    frame = frame_of(
        "ACME.XTOC",
        {
            "ts_event": at,
            "ts_available": at + 5,
            "kind": list(Kind),
            "side": [1, 0, -1, 0, 0, 0, 0],
            "price": [10, nan, 9, 10.5, 11, nan, nan],
            "size": [1, nan, 0, 2, 3, nan, nan],
            "bid": [nan, 8, nan, 10, nan, nan, nan],
            "ask": [nan, 9, nan, nan, nan, nan, nan],
            "bid_size": [nan, 5, nan, 1, nan, nan, nan],
            "ask_size": [nan, 6, nan, nan, nan, nan, nan],
            "trade_id": [7, 0, 0, 7, 7, 0, 0],
        },
    )
    made = list(single_ticks(frame))
    assert [type(tick).__name__ for tick in made] == [
        "Trade",
        "Quote",
        "BookUpdate",
        "Correction",
        "Cancel",
        "Status",
        "Status",
    ]
    assert made[0] == Trade(
        ts_event=int(at[0]),
        ts_available=int(at[0]) + 5,
        instrument="ACME.XTOC",
        price=10.0,
        size=1.0,
        side="buy",
        trade_id="7",
    )
    assert codec.encode(made[3]).endswith(
        b'"price":10.5,"size":2.0,"original_price":10.0,"original_size":1.0,"trade_id":"7"}'
    )
    for tick in made:
        codec.decode("ticks", b"ACME.XTOC", codec.encode(tick), int(at[-1]) // 10**6)


# pump_trades.

EVENTS = "event_id,symbol,announced_utc,file,onset_rule_utc,verified\n"


def write_trades(path: Path, rows: list[tuple[int, bool, float, float]]) -> None:
    path.parent.mkdir(exist_ok=True)
    names = ("ts_ms", "is_buy", "price", "amount")
    pq.write_table(pa.table(dict(zip(names, zip(*rows, strict=True), strict=True))), path)


def test_pump_trades_match_the_event_list(data_dir: Path, tmp_path: Path) -> None:
    report = convert("pump_trades", data_dir / "pump_trades", tmp_path / "r", limit=2)
    recording = Recording.open(tmp_path / "r")
    assert (report.read, report.kept) == (8_731 + 13_810, 8_731 + 13_810)  # n_trades of events.csv
    labels = recording.labels()  # the first of the two events is not verified
    assert [label.event_id for label in labels] == ["RDN_20200201T1300"]
    assert labels[0].instruments == ["RDNBTC.BINA"]
    assert labels[0].onset_ns == ns("2020-02-01 13:00:04") + 263_000_000
    assert labels[0].public_ns == ns("2020-02-01 13:00:00")
    assert {m.key for m in recording.messages()} == {b"NULSBTC.BINA", b"RDNBTC.BINA"}
    assert check_every_message(recording) == recording.rows()


def test_pump_trades_has_31_events_27_of_them_verified(data_dir: Path) -> None:
    lines = (data_dir / "pump_trades" / "events.csv").read_text().splitlines()[1:]
    assert (len(lines), sum(line.endswith(",True") for line in lines)) == (31, 27)


def test_a_taker_buy_is_a_buy_and_prices_are_not_scaled(tmp_path: Path) -> None:
    write_trades(
        tmp_path / "trades/a.parquet",
        [(1_580_000_000_001, True, 1.5e-06, 335.0), (1_580_000_000_002, False, 1.4e-06, 2.0)],
    )
    (tmp_path / "events.csv").write_text(
        EVENTS + "A_1,ABTC,2020-01-26 00:53:20,trades/a.parquet,2020-01-26 00:53:20.001,True\n"
    )
    convert("pump_trades", tmp_path, tmp_path / "r")
    rows = rows_of(Recording.open(tmp_path / "r"))
    assert rows.instrument == "ABTC.BINA"
    assert (
        rows.ts_event.tolist() == rows.ts_available.tolist() == [1_580_000_000_001_000_000, 1_580_000_000_002_000_000]
    )
    assert rows.side.tolist() == [1, -1]
    assert rows.price.tolist() == [1.5e-06, 1.4e-06]
    assert rows.size.tolist() == [335.0, 2.0]


def test_overlapping_files_and_impossible_trades_are_counted(tmp_path: Path) -> None:
    base = 1_580_000_000_000
    write_trades(
        tmp_path / "trades/a.parquet", [(base, True, 1.0, 1.0), (base + 9, True, 1.0, 1.0), (base + 5, True, 2.0, 1.0)]
    )
    write_trades(
        tmp_path / "trades/b.parquet",
        [
            (base + 9, True, 1.0, 1.0),
            (base + 10, True, 3.0, 1.0),
            (base + 11, True, -1.0, 1.0),
            (base + 12, True, 1.0, float("nan")),
        ],
    )
    (tmp_path / "events.csv").write_text(
        EVENTS
        + "A_1,ABTC,2020-01-26 00:00:00,trades/a.parquet,,False\nA_2,ABTC,2020-01-27 00:00:00,trades/b.parquet,,False\n"
    )
    report = convert("pump_trades", tmp_path, tmp_path / "r")
    assert (report.read, report.kept) == (7, 4)
    assert report.aside["in the coin's earlier file too"] == 1
    assert report.aside["no positive price and amount"] == 2
    assert report.remarks["out of order, sorted"] == 1
    assert rows_of(Recording.open(tmp_path / "r")).price.tolist() == [1.0, 2.0, 1.0, 3.0]


def test_an_unknown_event_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    (tmp_path / "trades").mkdir()
    (tmp_path / "events.csv").write_text(EVENTS + "A_1,ABTC,2020-01-26 00:00:00,trades/a.parquet,,False\n")
    with pytest.raises(StartupError, match=r"has no B_1; it has A_1"):
        convert("pump_trades", tmp_path, tmp_path / "r", events=["B_1"])


def test_unknown_tickers_calls_and_symbols_are_refused(data_dir: Path, tmp_path: Path) -> None:
    for kind in ("stocknet", "maec"):
        with pytest.raises(StartupError, match="has no NOBODY; it has "):
            convert(kind, data_dir / kind, tmp_path / "r", events=["NOBODY"])


def test_a_folder_that_is_no_such_set_is_refused(tmp_path: Path) -> None:
    for kind, name in (
        ("pump_trades", "events.csv"),
        ("stocknet", "tweets.parquet"),
        ("maec", "calls_text.parquet"),
        ("crypto_l2_ticks", "*.gz"),
        ("taiwan_credit", "taiwan_default.parquet"),
    ):
        with pytest.raises(StartupError, match=re.escape(name)):
            convert(kind, tmp_path, tmp_path / "r")


# taiwan_credit.


def test_taiwans_statements_are_those_that_the_model_has_not_learnt(data_dir: Path, tmp_path: Path) -> None:
    table = pq.read_table(data_dir / "credit" / "taiwan_default.parquet")
    report = convert("taiwan_credit", data_dir / "credit", tmp_path / "r")
    recording = Recording.open(tmp_path / "r")
    assert check_every_message(recording) == report.kept
    assert (report.read, report.kept + report.aside["which the bundle's model has learnt"]) == (23_977, 23_977)
    assert 0.19 < report.kept / report.read < 0.21
    labels = {label.accounts[0] for label in recording.labels()}
    known = table["default.payment.next.month"].to_pylist()
    for message in recording.messages(["statements"]):
        told = codec.decode("statements", message.key, message.value, message.timestamp_ms)
        assert isinstance(told, Statement)
        row = table.slice(int(told.account.removeprefix("TW")), 1).to_pylist()[0]
        assert (told.limit, told.billed[5], told.paid[0]) == (row["LIMIT_BAL"], row["BILL_AMT6"], row["PAY_AMT1"])
        assert (told.delays[0], told.delays[5]) == (row["PAY_0"], row["PAY_6"])
        assert (told.account in labels) == known[int(told.account.removeprefix("TW"))]
    assert recording.first_ns == ns("2005-09-30 16:00")


# stocknet.


def test_stocknet_tweets_and_closes_are_all_accounted_for(data_dir: Path, tmp_path: Path) -> None:
    tweets = pq.read_table(data_dir / "stocknet" / "tweets.parquet", columns=["ticker"])["ticker"].to_pylist()
    assert len(tweets) == 92_232
    report = convert("stocknet", data_dir / "stocknet", tmp_path / "r", events=["ABB", "BUD"])
    recording = Recording.open(tmp_path / "r")
    prices = pq.read_table(data_dir / "stocknet" / "prices_daily.parquet", columns=["ticker"])["ticker"].to_pylist()
    expected = sum(column.count(ticker) for column in (tweets, prices) for ticker in ("ABB", "BUD"))
    assert report.read == expected == report.kept + sum(report.aside.values())
    assert set(SymbolMaster.load(recording.brought["symbols"]).listings) == {"ABB.XNYS", "BUD.XNYS"}
    assert check_every_message(recording) == recording.rows()


def write_stocknet(
    folder: Path, tweets: list[tuple[str, str, str]], prices: list[tuple[str, str, float, float]]
) -> None:
    at = [datetime.fromisoformat(at).replace(tzinfo=UTC) for _, at, _ in tweets]
    table = {"ticker": [t for t, _, _ in tweets], "created_at": at, "text": [text for _, _, text in tweets]}
    pq.write_table(pa.table(table), folder / "tweets.parquet")
    names = ("ticker", "date", "close", "volume")
    columns = dict(zip(names, zip(*prices, strict=True), strict=True))
    close = np.array(columns["close"])
    # Twice what they are adjusted to: as if the stock was split in two afterwards.
    bars = {"open": 2 * close - 2, "high": 2 * close + 4, "low": 2 * close - 4, "close": 2 * close, "adj_close": close}
    pq.write_table(pa.table(columns | bars), folder / "prices_daily.parquet")
    (folder / "StockTable.tsv").write_text(
        "Sector\tSymbol\tCompany\nTechnology\t$AAPL\tApple Inc.\nServices\t$T\tAT&T Inc.\n"
    )


def test_a_tweet_about_two_companies_is_one_document_that_reaches_both(tmp_path: Path) -> None:
    tweets = [
        ("T", "2014-01-02 10:00:00", "$ aapl and $ t up"),
        ("AAPL", "2014-01-02 10:00:00", "$ aapl and $ t up"),
        ("AAPL", "2014-01-02 10:00:00", "$ aapl and $ t up"),
        ("AAPL", "2014-01-01 10:00:00", "hello"),
        ("AAPL", "2014-01-03 10:00:00", "  "),
    ]
    write_stocknet(tmp_path, tweets, [("AAPL", "2014-01-02", 79.0, 10.0)])
    report = convert("stocknet", tmp_path, tmp_path / "r")
    messages = Recording.open(tmp_path / "r").messages(["news"])
    news = [codec.decode(m.topic, m.key, m.value, m.timestamp_ms) for m in messages]
    assert all(isinstance(item, News) for item in news)
    assert [(n.headline, n.instrument, n.channel) for n in news] == [  # type: ignore[union-attr]
        ("hello", "AAPL.XNAS", "post"),
        ("$ aapl and $ t up", "AAPL.XNAS", "post"),
        ("$ aapl and $ t up", "T.XNYS", "post"),
    ]
    assert news[1].document_id == news[2].document_id  # type: ignore[union-attr]
    assert news[1].mentions == news[2].mentions == ["T.XNYS", "AAPL.XNAS"]  # type: ignore[union-attr]
    assert report.aside["tweets that stand in their company's file twice"] == 1
    assert report.aside["tweets without text"] == 1


def test_a_day_is_four_trades_at_new_yorks_close_in_winter_and_summer(tmp_path: Path) -> None:
    prices = [
        ("AAPL", "2013-12-31", 80.0, 9.0),
        ("AAPL", "2014-01-02", 79.0, 10.0),
        ("AAPL", "2014-07-01", 93.0, 20.0),
        ("AAPL", "2014-07-02", 94.0, 0.0),
    ]
    write_stocknet(tmp_path, [("AAPL", "2014-01-01 10:00:00", "hello")], prices)
    report = convert("stocknet", tmp_path, tmp_path / "r")
    rows = rows_of(Recording.open(tmp_path / "r"))
    closes = [ns("2014-01-02 21:00:00")] * 4 + [ns("2014-07-01 20:00:00")] * 4
    assert rows.ts_event.tolist() == rows.ts_available.tolist() == closes
    assert rows.price.tolist() == [78.0, 81.0, 77.0, 79.0, 92.0, 95.0, 91.0, 93.0]
    assert rows.size.tolist() == [2.5] * 4 + [5.0] * 4
    assert rows.side.tolist() == [0] * 8
    assert report.aside["daily bars before the first tweet"] == 1
    assert report.aside["daily bars without volume"] == 1


def test_texts_before_a_day_may_be_left_out_and_prices_stay(tmp_path: Path) -> None:
    tweets = [("AAPL", "2014-01-01 23:59:59", "early"), ("AAPL", "2014-01-02 00:00:00", "late")]
    write_stocknet(tmp_path, tweets, [("AAPL", "2014-01-01", 80.0, 9.0), ("AAPL", "2014-01-02", 79.0, 10.0)])
    report = convert("stocknet", tmp_path, tmp_path / "r", texts_from=date(2014, 1, 2))
    recording = Recording.open(tmp_path / "r")
    (message,) = recording.messages(["news"])
    assert b"late" in message.value
    assert recording.rows(["frames"]) == 2
    assert report.aside["texts before 2014-01-02"] == 1
    assert (report.read, report.kept) == (4, 3)
    assert recording.manifest.parameters["texts_from"] == "2014-01-02"


def test_a_day_whose_next_is_large_is_labelled_from_its_close_to_the_next(tmp_path: Path) -> None:
    dates = [str(np.datetime64("2014-01-01") + number) for number in range(64)]
    moves = np.tile([0.01, -0.01], 32)
    moves[61], moves[63] = 0.0201, 0.0199  # of the sixty before 61 the deviation is 0.01
    close = (100 * np.exp(np.cumsum(moves))).tolist()
    prices = [("AAPL", date, price, 1.0) for date, price in zip(dates, close, strict=True)]
    write_stocknet(tmp_path, [("AAPL", "2014-03-01 10:00:00", "hello")], prices)
    convert("stocknet", tmp_path, tmp_path / "r")
    (label,) = Recording.open(tmp_path / "r").labels()
    assert (label.event_id, label.typology, label.instruments) == ("AAPL_2014-03-03", "elevated_risk", ["AAPL.XNAS"])
    assert label.start_ns == ns("2014-03-02 21:00:00")
    assert label.onset_ns == label.end_ns == label.public_ns == ns("2014-03-03 21:00:00")


# maec.


def test_maec_has_every_sentence_of_its_calls(data_dir: Path, tmp_path: Path) -> None:
    table = pq.read_table(data_dir / "maec" / "calls_text.parquet", columns=["call_id", "n_sentences"])
    assert table.num_rows == 1_885
    report = convert("maec", data_dir / "maec", tmp_path / "r", events=["20150225_LMAT"])
    assert (report.read, report.kept) == (210, 210)
    recording = Recording.open(tmp_path / "r")
    assert check_every_message(recording) == 53  # 210 sentences, four a segment


def test_a_call_begins_at_21_utc_and_a_sentence_takes_eight_seconds(tmp_path: Path) -> None:
    text = "One.\nTwo.\n\nThree.\nFour.\nFive."
    table = pa.table({"call_id": ["20150225_X"], "ticker": ["X"], "date": ["2015-02-25"], "text": [text]})
    pq.write_table(table, tmp_path / "calls_text.parquet")
    report = convert("maec", tmp_path, tmp_path / "r")
    messages = Recording.open(tmp_path / "r").messages()
    first, second = (codec.decode(m.topic, m.key, m.value, m.timestamp_ms) for m in messages)
    assert isinstance(first, TranscriptSegment)
    assert isinstance(second, TranscriptSegment)
    assert (first.text, second.text) == ("One. Two. Three. Four.", "Five.")
    assert (first.instrument, first.call_id, first.segment) == ("X.XXXX", "20150225_X", 0)
    assert (first.ts_event, second.ts_event) == (ns("2015-02-25 21:00:32"), ns("2015-02-25 21:00:40"))
    assert report.aside["empty sentences"] == 1


def test_calls_that_turmoil_followed_are_labelled(tmp_path: Path) -> None:
    names = [f"20150702_{ticker}" for ticker in "ABC"]
    table = pa.table({"call_id": names, "ticker": list("ABC"), "date": ["2015-07-02"] * 3, "text": ["Yes.\nNo."] * 3})
    pq.write_table(table, tmp_path / "calls_text.parquet")
    rows = [
        "call_id,past_logvol_0,target_logvol_3d",
        *(f"{n},-4,{v}" for n, v in zip(names, (-3.6, -3.5, -9), strict=True)),
    ]
    (tmp_path / "labels.csv.gz").write_bytes(gzip.compress("\n".join(rows).encode()))
    convert("maec", tmp_path, tmp_path / "r")
    (label,) = Recording.open(tmp_path / "r").labels()  # e ** 0.4 is less than 1.5, e ** 0.5 more
    assert (label.event_id, label.typology, label.instruments) == ("20150702_B", "adverse_text", ["B.XXXX"])
    assert label.start_ns == ns("2015-07-02 21:00:00")
    assert label.onset_ns == label.end_ns == ns("2015-07-02 21:00:16")
    assert label.public_ns == ns("2015-07-09 21:00:00")  # the fourth close: the third of July was a holiday


# crypto_l2_ticks.


def write_lines(folder: Path, *lines: str) -> None:
    (folder / "a.gz").write_bytes(gzip.compress("".join(f"{line}\n" for line in lines).encode()))


TRADE = (
    '{"stream":"btcusdt@trade","data":{"e":"trade","E":%d,"s":"BTCUSDT","t":%d,"p":"61837.63","q":"0.02","T":%d,'
    '"m":%s,"M":true}}'
)
QUOTE = '{"stream":"btcusdt@bookTicker","data":{"u":1,"s":"BTCUSDT","b":"61837.63","B":"3.5","a":"61837.64","A":"1.5"}}'
DEPTH = (
    '{"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":%d,"s":"BTCUSDT","U":%d,"u":%d,'
    '"b":[["61837.63","0.00"]],"a":[["61838.00","1.25"]]}}'
)
BOOK = '{"lastUpdateId":7,"bids":[["61837.00","2.0"]],"asks":[["61839.00","3.0"]]}'
T0_MS = 1_723_161_254_000


def test_the_raw_stream_is_read_whole(data_dir: Path, tmp_path: Path) -> None:
    report = convert("crypto_l2_ticks", data_dir / "crypto_l2_ticks", tmp_path / "r", limit=2_000)
    recording = Recording.open(tmp_path / "r")
    assert report.read == 2_000
    assert not report.aside
    assert report.remarks["gaps in the depth updates' numbers"] == 0
    rows = rows_of(recording)
    assert report.kept == len(rows)
    assert rows.instrument == "BTCUSDT.BINA"
    assert check_every_message(recording) == recording.rows()


def test_times_are_the_venues_and_arrival_is_the_collectors(tmp_path: Path) -> None:
    local = T0_MS * 10**6
    write_lines(
        tmp_path,
        f"{local} " + TRADE % (T0_MS + 1_250, 11, T0_MS + 1_249, "true"),
        f"{local + 1_000} {QUOTE}",
        f"{local + 2_000} {BOOK}",
        f"{local + 10**6} " + DEPTH % (T0_MS + 1_251, 5, 6),
        f"{local + 2 * 10**6} " + TRADE % (T0_MS + 1_252, 12, T0_MS + 1_252, "false"),
    )
    convert("crypto_l2_ticks", tmp_path, tmp_path / "r")
    rows = rows_of(Recording.open(tmp_path / "r"))
    k = Kind
    assert rows.kind.tolist() == [k.TRADE, k.QUOTE, k.BOOK, k.BOOK, k.BOOK, k.BOOK, k.TRADE]
    ahead_ns = 1_250 * 10**6  # all three dated messages say so
    assert (rows.ts_available - local).tolist() == [0, 1_000, 2_000, 2_000, 10**6, 10**6, 2 * 10**6]
    assert (rows.ts_event - local - ahead_ns).tolist() == [-(10**6), 1_000, 2_000, 2_000, 10**6, 10**6, 2 * 10**6]
    assert rows.side.tolist() == [-1, 0, 1, -1, 1, -1, 1]  # buyer is maker: the aggressor sold
    assert rows.trade_id.tolist() == [11, 0, 0, 0, 0, 0, 12]
    assert rows[1:2].bid_size[0] == 3.5
    assert rows.size[4] == 0.0  # the level is gone
    assert rows.price[4:6].tolist() == [61837.63, 61838.0]


def test_doubled_trades_and_gaps_are_counted(tmp_path: Path) -> None:
    local = T0_MS * 10**6
    write_lines(
        tmp_path,
        f"{local} " + TRADE % (T0_MS, 11, T0_MS, "true"),
        f"{local + 1} " + TRADE % (T0_MS, 11, T0_MS, "true"),
        f"{local + 2} " + DEPTH % (T0_MS, 5, 6),
        f"{local + 1} " + DEPTH % (T0_MS, 8, 9),
    )
    report = convert("crypto_l2_ticks", tmp_path, tmp_path / "r")
    assert report.aside["trades received twice"] == 1
    assert report.remarks["gaps in the depth updates' numbers"] == 1
    assert report.remarks["received out of order, moved up"] == 1
    assert (report.read, report.kept) == (4, 5)


def test_a_broken_stream_is_refused_with_the_file(tmp_path: Path) -> None:
    write_lines(tmp_path, "1723161254000000000 {")
    with pytest.raises(StartupError, match=r"a\.gz cannot be read .*; fetch it again"):
        convert("crypto_l2_ticks", tmp_path, tmp_path / "r")
    assert not (tmp_path / "r").exists()
