"""A share on two venues: both of its instruments go the whole way, and ring."""

from __future__ import annotations

import asyncio
from pathlib import Path

from engines.instruments import SymbolMaster
from engines.simulator.day import Config
from monitor.recordings import Recording
from monitor.replay_history import by_history
from monitor.simulation import companies_of, write
from tests.integration.daemon import stages


def test_what_happens_to_a_share_rings_on_both_of_its_venues(tmp_path: Path) -> None:
    config = Config(model="agents", seed=10, hours=3.0, typologies=("market_anomaly",), calls=0, articles_an_hour=0)
    (label,) = write(tmp_path / "day", config, companies_of(SymbolMaster.load(), 1))
    recording = Recording.open(tmp_path / "day")
    assert {message.key for message in recording.messages(("orders",))} == {b"ACME.XTOC", b"ACME.XTOD"}
    rung = asyncio.run(by_history(recording.messages(), stages())).alerts
    there = [alert for alert in rung if label.onset_ns <= alert.times.available_at <= label.end_ns]
    assert {(alert.subject.instrument, alert.subject.mic) for alert in there} >= {
        ("ACME.XTOC", "XTOC"),
        ("ACME.XTOD", "XTOD"),
    }
