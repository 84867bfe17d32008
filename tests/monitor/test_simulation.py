"""Simulated days go into Kafka as they are made, and into a recording where one is asked for."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from pathlib import Path

import pytest
from typer.testing import CliRunner

from engines.instruments import SymbolMaster
from engines.simulator.day import Config
from monitor import kafka, simulation
from monitor.cli import app
from monitor.errors import StartupError
from monitor.feed import Played
from monitor.recordings import Recording
from monitor.settings import Settings
from tests.integration.kafka import messages_of

#: Of which the broker keeps all: 5 MB a partition.
SMALL = ["--hours", "0.17", "--instruments", "2", "--ticks-a-second", "0.5", "--days", "2"]
SMALL += ["--typology", "block_trade", "--typology", "structuring", "--typology", "mis_selling"]
CONFIG = Config(hours=0.2, ticks_a_second=1.0)
COMPANIES = simulation.companies_of(SymbolMaster.load(), 2)


@pytest.fixture
def settings(broker: str, request: pytest.FixtureRequest) -> Settings:
    made = Settings(bootstrap=broker, prefix=f"{request.node.name}.")  # type: ignore[call-arg]
    asyncio.run(kafka.create_topics(made))
    return made


def simulate(settings: Settings, *options: str) -> str:
    where = ["--bootstrap", settings.bootstrap, "--prefix", settings.prefix]
    result = CliRunner().invoke(app, ["simulate", *SMALL, "--to-kafka", "--speed", "max", *where, *options])
    assert result.exit_code == 0, result.output
    return result.stdout


def held(settings: Settings, topic: str) -> Counter[tuple[bytes, bytes]]:
    found = asyncio.run(messages_of(settings, topic))
    return Counter((message.key, message.value) for message in found)


def test_what_is_sent_is_what_is_recorded_labels_and_all(settings: Settings, tmp_path: Path) -> None:
    assert "messages delivered" in simulate(settings, "--out", str(tmp_path / "days"))
    recording = Recording.open(tmp_path / "days")
    assert {label.typology for label in recording.labels()} == {"block_trade", "structuring", "mis_selling"}
    assert {"frames", "orders", "news", "transcripts", "audio", "transfers"} == set(recording.topics)
    for topic in recording.topics:
        assert held(settings, topic) == Counter((m.key, m.value) for m in recording.messages([topic]))


def test_single_ticks_and_documents_go_to_the_gateways_topics(settings: Settings) -> None:
    simulate(settings, "--single")
    assert held(settings, "ticks")
    assert held(settings, "documents")
    assert {"ticks", "documents"} < set(simulation.topics_of(single=True))


def test_stopped_between_messages_it_leaves_no_half_recording(settings: Settings, tmp_path: Path) -> None:
    def stop(_: Played) -> None:
        signal.raise_signal(signal.SIGINT)

    made = simulation.days_of(CONFIG, COMPANIES, path=tmp_path / "day")
    played = simulation.send_all(made, settings, speed=1.0, on_progress=stop)
    assert played.stopped
    assert played.sent == played.position > 0
    assert list(tmp_path.iterdir()) == []


def test_stopped_while_a_days_last_messages_are_awaited_it_goes_on_with_no_other(
    settings: Settings, tmp_path: Path
) -> None:
    def stop(played: Played) -> None:
        if played.position == played.sent:  # all are delivered
            signal.raise_signal(signal.SIGINT)

    made = simulation.days_of(CONFIG, COMPANIES, path=tmp_path / "day")
    played = simulation.send_all(made, settings, speed=None, on_progress=stop)
    assert played.stopped
    assert list(tmp_path.iterdir()) == []


def test_without_topics_nothing_is_made(broker: str, tmp_path: Path) -> None:
    elsewhere = Settings(bootstrap=broker, prefix="nobody.")  # type: ignore[call-arg]
    with pytest.raises(StartupError, match="run `tocsin topics create`"):
        simulation.send_all(simulation.days_of(CONFIG, COMPANIES, path=tmp_path / "day"), elsewhere)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ([], "name a folder (--out DIR), or --to-kafka, or both"),
        (["--out", "day", "--speed", "9"], "--speed belongs to --to-kafka"),
        (["--to-kafka", "--speed", "fast"], "--speed is 'fast'; expected a number above 0"),
        (
            ["--out", "day", "--typology", "spoof"],
            "Unknown typology spoof; with --model flow there are pump_and_dump, ",
        ),
        (["--out", "day", "--typology", "fan_in"], "fan_in can be told from --days 4 on"),
        (["--to-kafka", "--bootstrap", "127.0.0.1:9"], "No Kafka broker answers at 127.0.0.1:9"),
    ],
)
def test_what_cannot_be_is_one_sentence(options: list[str], sentence: str) -> None:
    result = CliRunner().invoke(app, ["simulate", *SMALL, *options])
    assert result.exit_code == 2
    assert sentence in " ".join(result.stderr.split())
