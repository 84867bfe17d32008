"""Daily data through the very agents: a bar a day, scored once, with the features that training sees."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from typer.testing import CliRunner

from monitor.cli import app
from monitor.converters.conversion import convert
from monitor.replay_output import Replay
from tests.monitor.test_converters import write_stocknet

DAY_NS = 86_400 * 10**9
DAYS = 140


def replayed(tmp_path: Path) -> Replay:
    draw = np.random.default_rng(5)
    dates = [str(np.datetime64("2014-01-01") + number) for number in range(DAYS)]
    moves = draw.choice([-0.01, 0.01], DAYS)
    moves[-2] = 0.25  # a day like no other, after 120 to compare it with
    prices = [
        ("AAPL", date, float(price), 1e6) for date, price in zip(dates, 100 * np.exp(np.cumsum(moves)), strict=True)
    ]
    write_stocknet(tmp_path, [("AAPL", "2014-01-01 10:00:00", "hello")], prices)
    convert("stocknet", tmp_path, tmp_path / "recording")
    (tmp_path / "days.toml").write_text("bar_s = 86400\ngrace_ms = 0\n")
    words = [
        "replay",
        str(tmp_path / "recording"),
        "--config",
        str(tmp_path / "days.toml"),
        "--out",
        str(tmp_path / "r"),
        "--allow-overlap",
    ]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    return Replay.open(tmp_path / "r")


def test_each_day_is_a_bar_known_when_it_is_over_and_scored_for_the_next(tmp_path: Path) -> None:
    replay = replayed(tmp_path)
    scores = replay.table("scores", ["window_start", "window_end", "ts_available", "elevated_risk"])
    start, end, known = (scores[name].to_numpy() for name in ("window_start", "window_end", "ts_available"))
    bars = end - start == DAY_NS
    assert bars.sum() == DAYS - 1  # the last day is not over yet
    assert not np.any(start[bars] % DAY_NS)
    assert np.all(known[bars] >= end[bars])
    assert np.all(known[bars] <= end[bars] + DAY_NS)
    assert np.isfinite(scores["elevated_risk"].to_numpy()[bars]).all()
    forecasts = replay.table("signals", ["forecast_horizon_ns"])["forecast_horizon_ns"].to_numpy()
    assert set(forecasts[np.isfinite(forecasts)].tolist()) == {DAY_NS}
    (alarm,) = [alert for alert in replay.alerts() if alert.activity == "create"]
    assert alarm.finding.typology == "market_anomaly@1"
    assert alarm.times.event_end == alarm.times.available_at == 1_400_529_600 * 10**9  # 2014-05-19, 16:00 in New York


def test_bars_of_days_ask_for_their_own_lateness(tmp_path: Path) -> None:
    (tmp_path / "days.toml").write_text("bar_s = 86400\n")
    result = CliRunner().invoke(app, ["replay", str(tmp_path), "--config", str(tmp_path / "days.toml"), "--out", "r"])
    assert result.exit_code == 2
    assert "grace_ms" in result.output.lower()
