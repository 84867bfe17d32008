"""One example of every released record, frame and alert: what the bytes beside this file stand for."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from schemas import alerts, codec, control, frames, journal, order_frames, records
from tests import messages

MESSAGES = Path(__file__).parent / "messages"
T = 1_700_000_000_000_000_000
TIMESTAMP_MS = T // 10**6 + 1_000
_SUFFIXES = {"frames": "arrow", "audio": "bin", "charts": "bin"}


class Example(NamedTuple):
    """A record with the topic and key that it travels under; bars have no topic yet."""

    name: str
    topic: str
    key: bytes
    record: Any

    @property
    def path(self) -> Path:
        suffix = "arrow" if isinstance(self.record, order_frames.OrderFrame) else _SUFFIXES.get(self.topic, "json")
        return MESSAGES / f"{self.name}.{suffix}"

    def encoded(self) -> bytes:
        return codec.encode(self.record)


_AT: dict[str, Any] = {"ts_event": T, "ts_available": T + 250_000_000}
_HERE: dict[str, Any] = {**_AT, "instrument": "ACME.XTOC"}
_ACME = b"ACME.XTOC"

_FRAME = frames.frame_of(
    "ACME.XTOC",
    {
        "ts_event": [T, T + 1, T + 2, T + 3, T + 4, T + 5, T + 6],
        "ts_available": [T + 10] * 7,
        "kind": list(frames.Kind),
        "side": [1, 0, -1, 0, 0, 0, 0],
        "price": [10.5, float("nan"), 10.6, 10.4, 10.5] + [float("nan")] * 2,
        "size": [100.0, float("nan"), 0.0, 90.0, 100.0] + [float("nan")] * 2,
        "bid": [float("nan"), 10.4, float("nan"), 10.5] + [float("nan")] * 3,
        "ask": [float("nan"), 10.6] + [float("nan")] * 5,
        "bid_size": [float("nan"), 5.0, float("nan"), 100.0] + [float("nan")] * 3,
        "ask_size": [float("nan"), 0.0] + [float("nan")] * 5,
        "trade_id": [7, 0, 0, 7, 7, 0, 0],
        "source_offset": [40, 41, 42, 43, 44, 45, -1],
    },
)

_ORDER_FRAME = order_frames.order_frame_of(
    "ACME.XTOC",
    {
        "ts_event": [T, T + 1, T + 2, T + 3, T + 4, T + 5],
        "ts_available": [T + 10] * 6,
        "action": list(order_frames.Action),
        "side": [1, 1, -1, 1, -1, 1],
        "price": [10.5, 10.4, 10.6, 10.4, 0.0, 10.4],
        "size": [100.0, 90.0, 0.0, 40.0, 25.0, 50.0],
        "order": [12, 12, 2**62, 12, 14, 12],
        "trade": [0, 0, 0, 7, 0, 0],
        "account": [0, 0, 1, 0, -1, 0],
        "trader": [0, 0, -1, 0, -1, 0],
    },
    ("a1", "Zürich 2"),
    ("t1",),
)

ALERT = alerts.Alert(
    alert_id="0" * 32,
    episode_id="1" * 32,
    fingerprint="2" * 32,
    revision=2,
    activity="update",
    times=alerts.Times(
        event_start=T - 60 * 10**9, event_end=T, available_at=T + 1, watermark=T - 10**9, detected_at=T + 9
    ),
    subject=alerts.Subject(instrument="ACME.XTOC", symbol="ACME", mic="XTOC", isin="ZZACME000018"),
    finding=alerts.Finding(
        typology="pump_and_dump@1",
        title="Price and volume pushed up",
        severity="critical",
        score=0.97,
        p_value=0.001,
        regulation=["MAR Art. 12(1)(a)"],
    ),
    modalities={
        "ticks": alerts.Modality(present=True, age_ns=0, score=0.97, weight=0.8, model="tick@1"),
        "text": alerts.Modality(present=False),
    },
    explanation=alerts.Explanation(
        rules=[alerts.RuleResult(name="volume", value=41.5, threshold=20.0, unit="x trailing median")],
        attributions=[alerts.Attribution(topic="tocsin.frames", locator="ticks 10:250", weight=0.6)],
        clears="volume below 20 x the trailing median",
    ),
    evidence=alerts.Evidence(
        inputs=[alerts.Input(topic="tocsin.frames", partition=3, offset=9, sha256="ab" * 32)],
        first_seen=T - 60 * 10**9,
        last_seen=T,
        count=4,
        history=[(T - 10**9, 0.61), (T, 0.97)],
    ),
    provenance=alerts.Provenance(
        code_version="0.1.0",
        config="c0ffee",
        bundle="b1",
        backend="onnxruntime-cpu",
        precision="fp32",
        mode="replay",
        run_id="r1",
    ),
    quality=alerts.Quality(ladder="full", late_events=2, gaps=1, warm_up=True),
)

EXAMPLES: tuple[Example, ...] = (
    Example(
        "trade",
        "ticks",
        _ACME,
        records.Trade(**_HERE, price=10.5, size=100.0, side="buy", trade_id="7"),
    ),
    Example("trade_least", "ticks", _ACME, records.Trade(ts_event=T, instrument="ACME.XTOC", price=1e-8, size=3)),
    Example(
        "correction",
        "ticks",
        _ACME,
        records.Correction(**_HERE, price=10.4, size=90.0, original_price=10.5, original_size=100.0, trade_id="7"),
    ),
    Example("cancel", "ticks", _ACME, records.Cancel(**_HERE, price=10.5, size=100.0, trade_id="7")),
    Example("quote", "ticks", _ACME, records.Quote(**_HERE, bid=10.4, ask=10.6, bid_size=5.0, ask_size=0.0)),
    Example("book_update", "ticks", _ACME, records.BookUpdate(**_HERE, side="sell", price=10.6, size=0.0)),
    Example("status", "ticks", _ACME, records.Status(**_HERE, status="halted")),
    Example("frame", "frames", _ACME, _FRAME),
    Example(
        "order_event",
        "orders",
        _ACME,
        records.OrderEvent(
            **_HERE,
            order_id="o1",
            action="fill",
            side="sell",
            price=10.5,
            size=100.0,
            account="a1",
            trader="t1",
            trade_id="7",
        ),
    ),
    Example("order_frame", "orders", _ACME, _ORDER_FRAME),
    Example(
        "document",
        "documents",
        b"feed",
        records.Document(
            **_AT,
            document_id="d1",
            headline="Acme Robotics beats",
            body="Zürich, 後場: …",
            source="wire",
            channel="post",
            language="de",
            instruments=["$ACME", "ZZACME000018"],
        ),
    ),
    Example(
        "news",
        "news",
        _ACME,
        records.News(
            **_HERE,
            document_id="d1",
            headline="Acme Robotics beats",
            body="Zürich, 後場: …",
            source="wire",
            mentions=["ACME.XTOC", "BOREAL.XTOC"],
        ),
    ),
    Example(
        "news_market",
        "news",
        b"market",
        records.News(**_AT, instrument="market", document_id="d2", headline="Rates unchanged"),
    ),
    Example(
        "transcript_segment",
        "transcripts",
        _ACME,
        records.TranscriptSegment(**_HERE, call_id="c1", segment=4, text="We are on track.", speaker="A", role="CEO"),
    ),
    Example(
        "audio_segment_wav",
        "audio",
        _ACME,
        records.AudioSegment(
            **_HERE,
            call_id="c1",
            segment=4,
            media_type="audio/wav",
            sample_rate_hz=8_000,
            payload=messages.wav(8_000, 1, 16),
        ),
    ),
    Example(
        "audio_segment_pcm",
        "audio",
        _ACME,
        records.AudioSegment(
            **_HERE,
            call_id="c1",
            segment=5,
            media_type="audio/L16",
            sample_rate_hz=16_000,
            channels=2,
            payload=bytes(range(64)),
        ),
    ),
    Example(
        "chart_snapshot",
        "charts",
        _ACME,
        records.ChartSnapshot(
            **_HERE,
            media_type="image/png",
            width=2,
            height=1,
            interval_s=60,
            # two grey pixels, written out: another zlib may compress them otherwise
            payload=bytes.fromhex(
                "89504e470d0a1a0a0000000d4948445200000002000000010800000000d1492056"
                "0000000b49444154789c6338710200025b019193bdf1e70000000049454e44ae426082"
            ),
        ),
    ),
    Example(
        "transfer",
        "transfers",
        b"a1",
        records.Transfer(**_AT, transfer_id="t1", account="a1", counterparty="a2", amount=9_900.0, currency="EUR"),
    ),
    Example(
        "statement",
        "statements",
        b"a1",
        records.Statement(
            **_AT,
            statement_id="a1_2023-11",
            account="a1",
            currency="TWD",
            limit=150_000.0,
            billed=[40_000.0, 38_000.0, 35_000.0, 0.0, -120.0, 900.5],
            paid=[2_000.0, 1_500.0, 0.0, 0.0, 1_020.5, 900.5],
            delays=[2, 0, 0, -2, -1, -1],
        ),
    ),
    Example(
        "journal_entry",
        "journal",
        b"3",
        journal.Entry(
            epoch=5,
            ordinal=1_000,
            steps=[journal.Run("frames", 12, 77), journal.Clock(T), journal.Ladder(1, "lag 9 s")],
        ),
    ),
    Example(
        "journal_entry_decides",
        "journal",
        b"3",
        journal.Entry(
            epoch=5,
            ordinal=1_012,
            steps=[journal.Fallback("text", "tensorrt", "onnxruntime-cpu", "lost"), journal.Decides("0f3a", "9c1e")],
        ),
    ),
    Example(
        "journal_entry_rules",
        "journal",
        b"3",
        journal.Entry(
            epoch=5, ordinal=1_020, steps=[journal.Rules(T, 4, "version: a\n"), journal.Decides("0f3a", "77aa")]
        ),
    ),
    Example(
        "rule_change",
        "control",
        b"rules/a",
        control.RuleChange(
            version="a",
            effective_ns=T,
            published_ns=T - 10**9,
            author="officer",
            reason="fewer false alarms",
            text="version: a\n",
        ),
    ),
    Example(
        "promotion",
        "control",
        b"models/0f3a/1",
        control.Promotion(
            model="0f3a",
            name="2026-12",
            change="promotion",
            previous="9c1e",
            published_ns=T - 10**9,
            author="officer",
            reason="fewer false alarms",
            gate=[control.Check(name="recall", passed=True, told="0.91 [0.85, 0.96], the champion's 0.90")],
        ),
    ),
    Example("journal_claim", "journal", b"3", journal.Claim(owner="worker-1")),
    Example(
        "score",
        "scores",
        _ACME,
        records.Score(
            **_HERE,
            window_start=T - 60 * 10**9,
            window_end=T,
            scores={"risk": 0.25},
            statistics={"z": -3.5},
            ages_ns={"text": 10**9},
            bundle="b1",
        ),
    ),
    Example(
        "signal",
        "signals",
        _ACME,
        records.Signal(
            **_HERE,
            window_start=T - 300 * 10**9,
            window_end=T,
            sector="industrials",
            forecast=records.Forecast(
                made_at=T,
                horizon_ns=300 * 10**9,
                volatility=0.002,
                low=0.001,
                high=0.004,
                p_up=0.5,
                p_adverse=0.03125,
                adverse_move=-0.005,
            ),
            sentiment=records.Sentiment(
                newest=T,
                half_life_ns=86_400 * 10**9,
                index=-0.25,
                weight=1.5,
                window_ns=3_600 * 10**9,
                texts=3,
                expected=0.5,
                burst=0.015625,
                novelty=0.75,
            ),
            bundle="b1",
        ),
    ),
    Example(
        "signal_sector",
        "signals",
        b"industrials",
        records.Signal(
            ts_event=T,
            ts_available=T + 10**6,
            instrument="industrials",
            scope="sector",
            window_start=T,
            window_end=T,
            sector="industrials",
            sentiment=records.Sentiment(
                newest=T, half_life_ns=86_400 * 10**9, index=-0.25, weight=1.5, window_ns=3_600 * 10**9, texts=3
            ),
            bundle="b1",
        ),
    ),
    Example("signal_least", "signals", _ACME, records.Signal(**_HERE, window_start=T, window_end=T)),
    Example(
        "drift",
        "drift",
        _ACME,
        records.Drift(
            ts_event=T,
            ts_available=T + 10**6,
            subject="ACME.XTOC",
            drift_id="1" * 32,
            kind="market",
            stream="volatility",
            since=T - 1_800 * 10**9,
            moved="level",
            before=0.0005,
            after=0.0015,
            above=0.875,
            run_time=80_000.0,
            instruments=["ACME.XTOC"],
            asset_class="equity",
            sector="industrials",
            config="2" * 32,
            bundle="b1",
            trace="00-11111111111111111111111111111111-2222222222222222-01",
            evidence=[alerts.Input(topic="frames", partition=3, offset=7, sha256="3" * 64)],
        ),
    ),
    Example(
        "opening_drift",
        "market",
        b"market",
        records.Opening(
            **_HERE,
            typology="drift",
            episode_id="1" * 32,
            severity="info",
            score=1.0,
            drift=records.Moved(stream="volatility", sector="industrials"),
        ),
    ),
    Example(
        "drift_values",
        "drift",
        _ACME,
        records.Drift(
            ts_event=T,
            subject="ACME.XTOC",
            drift_id="1" * 32,
            kind="market",
            stream="volatility",
            since=T - 60 * 10**9,
            moved="level",
            before=0.5,
            after=1.5,
            times=[T - 120 * 10**9, T - 60 * 10**9],
            values=[0.5, 1.5],
        ),
    ),
    Example(
        "opening_spoken",
        "market",
        b"market",
        records.Opening(
            **_HERE,
            typology="text",
            episode_id="1" * 32,
            severity="info",
            score=0.75,
            spoken=records.Spoken(sector="industrials", tone=-0.5, vector=bytes([127, 0, 129]), bundle="b1"),
        ),
    ),
    Example(
        "drift_least",
        "drift",
        _ACME,
        records.Drift(
            ts_event=T, subject="ACME.XTOC", drift_id="1" * 32, kind="new_instrument", stream="frames", since=T
        ),
    ),
    Example(
        "opening",
        "market",
        b"market",
        records.Opening(
            **_HERE,
            typology="market_anomaly@1",
            episode_id="1" * 32,
            severity="warning",
            score=0.75,
        ),
    ),
    Example(
        "opening_half",
        "market",
        b"market",
        records.Opening(
            **_HERE,
            typology="cross_product@1",
            episode_id="1" * 32,
            severity="info",
            score=0.0,
            half=records.Half(account="a", act="pushed", side=1, start_ns=T - 9, end_ns=T, depths=1.5, moved=3.25),
        ),
    ),
    Example(
        "review",
        "reviews",
        _ACME,
        records.Review(
            **_HERE,
            review_id="3" * 32,
            typology="spoofing@1",
            account="a1",
            window_start=T - 3_600 * 10**9,
            window_end=T,
            score=0.375,
            threshold=0.5,
            propensity=0.0625,
            config="4" * 32,
        ),
    ),
    Example(
        "disposition",
        "dispositions",
        b"1" * 32,
        records.Disposition(
            **_HERE,
            episode_id="1" * 32,
            alert_id="0" * 32,
            value="false_positive",
            author="officer",
            note="an index was rebalanced",
            typology="pump_and_dump@1",
            account="a1",
            event_start=T - 60 * 10**9,
            event_end=T - 30 * 10**9,
            score=0.75,
            propensity=0.5,
        ),
    ),
    Example(
        "bar",
        "",
        _ACME,
        records.Bar(
            **_HERE,
            start=T - 60 * 10**9,
            end=T,
            open=10.0,
            high=11.0,
            low=9.5,
            close=10.5,
            volume=300.0,
            notional=3_090.0,
            buy_volume=200.0,
            trades=12,
        ),
    ),
    Example(
        "alert",
        "alerts",
        b"1" * 32,
        alerts.AlertEvent(
            id=ALERT.alert_id,
            source="tocsin/instrument",
            type="io.tocsin.alert.update",
            subject="ACME.XTOC",
            time="2023-11-14T22:13:20Z",
            data=ALERT,
        ),
    ),
    Example(
        "dead_letter",
        "deadletters",
        b"tocsin.ticks",
        records.DeadLetter(
            **_AT,
            topic="tocsin.ticks",
            partition=1,
            offset=42,
            reason="not_json",
            detail="expected one JSON object, found: Input data was truncated",
            key=b"ACME.XTOC",
            value=b'{"type":"tra\xff',
            size=14,
            headers={"traceparent": "00-1"},
        ),
    ),
)
