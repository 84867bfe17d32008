"""`tocsin labels` as a person calls it, and what the daemon and a replay make of the files."""

from __future__ import annotations

import asyncio
import csv
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from agents.flow import Arrival, Item
from engines.bundle import DEFAULT, Bundle
from engines.inference import ORT_CPU
from engines.text import TextEncoder
from engines.text_labels import LabelFile
from monitor.cli import app
from monitor.converters.messages import record_message
from monitor.errors import StartupError
from monitor.labels import load_labels, read_texts
from monitor.recording_writer import RecordingWriter
from monitor.replay_history import by_history
from monitor.settings import Settings
from monitor.stage import load_stages
from monitor.state import StateTable
from schemas.alerts import Alert
from schemas.records import News
from tests.agents.streams import KEY, arrivals, news

NAMES = ("Acme", "Globex", "Initech", "Umbra", "Hooli", "Orchid", "Tyrell", "Nakatomi")
ATTACKS = (
    "Hackers stole customer data in a breach at Acme",
    "Ransomware shuts down Globex plants",
    "Initech discloses intrusion into its network",
    "Data breach at Umbra exposes millions of records",
    "Hooli systems offline after malware infection",
    "Hackers demand ransom from Orchid after server break-in",
    "Denial-of-service attack takes Tyrell website down",
    "Phishing campaign compromised Nakatomi employee accounts",
)
USUAL = (
    "{} beats quarterly estimates as sales rise",
    "{} cuts its outlook, shares slip",
    "{} appoints a new finance chief",
    "Analysts raise their target price for {}",
    "{} to buy back its own stock",
    "{} recalls vehicles over brake fault",
    "{} opens a plant in Ohio",
    "{} wins a government contract",
    "{} declares a dividend",
    "{} and a rival in talks to merge",
)


def table(path: Path, texts: list[str], column: str = "text") -> str:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(zip([column, *texts], range(len(texts) + 1), strict=True))
    return str(path)


def run(*arguments: str, **environment: str) -> tuple[int, str, str]:
    given = {f"TOCSIN_{name.upper()}": value for name, value in environment.items()} | {"COLUMNS": "160"}
    result = CliRunner(env=given).invoke(app, list(arguments))
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A label's file and what was told when it was made."""
    folder = tmp_path_factory.mktemp("desk")
    examples = table(folder / "examples.csv", list(ATTACKS))
    background = table(folder / "background.csv", [usual.format(name) for name in NAMES for usual in USUAL])
    out = folder / "labels" / "cyber.json"
    command = ("labels", "add", "cyber", "--examples", examples, "--background", background, "--budget", "0.05")
    code, told, error = run(*command, "--severity", "info", "--title", "An attack", "--out", str(out))
    assert code == 0, error
    return out, told


def test_a_label_is_made_of_few_texts_and_says_how_it_does(made: tuple[Path, str]) -> None:
    path, told = made
    file = msgspec.json.decode(path.read_bytes(), type=LabelFile)
    assert (file.name, file.title, file.severity, file.budget) == ("cyber", "An attack", "info", 0.05)
    assert (file.examples, file.calibrated, len(file.direction)) == (8, 40, 384)
    assert file.bundle == Bundle.load(DEFAULT).id
    assert len([line for line in told.splitlines() if any(name in line for name in NAMES)]) == 5
    caught = int(told.partition(" of 8 examples would ring")[0].split()[-1])
    assert caught >= 6
    assert list(path.parent.iterdir()) == [path]


def test_a_text_is_tried_and_labels_are_listed(made: tuple[Path, str]) -> None:
    path, _ = made
    code, told, _ = run(
        "labels", "try", str(path), "Cyber attack: hackers break into Wayne's servers", "Wayne pays more"
    )
    assert code == 0
    first, second = (line for line in told.splitlines() if "Wayne" in line)
    assert first.startswith("info")
    assert second.startswith("quiet")
    for code, told, _ in (run("labels", "list", str(path.parent)), run("labels", "list", labels=str(path.parent))):
        assert code == 0
        assert "cyber" in told
        assert "5.00%" in told
        assert "An attack" in told


def rung(told: Iterable[object]) -> list[Alert]:
    return [one for one in told if isinstance(one, Alert) and one.finding.typology.startswith("label_")]


def test_the_daemon_and_a_replay_ring_for_it_alike(made: tuple[Path, str]) -> None:
    stages = load_stages(Settings(labels=made[0].parent), lambda _: None)
    assert stages.about["labels"] == ["cyber"]
    record = msgspec.structs.replace(news(0.0), headline="Hackers break into Orchid's servers, customer data stolen")
    quiet = msgspec.structs.replace(news(1.0, "d2", "OTHER.XTOC"), headline="Tyrell pays a dividend")

    async def live() -> list[object]:
        stage = stages.instrument

        async def items() -> AsyncIterator[Item]:
            for item in arrivals([], [(record, 0.0), (quiet, 0.0)]):
                if isinstance(item, Arrival):
                    assert isinstance(item.value, News)
                    item = msgspec.structs.replace(item, embedding=stage.encoders["text"](item.value))
                yield item

        state: StateTable[Any] = StateTable()
        return [one async for one in stage.agent(items(), state)]

    (alert,) = rung(asyncio.run(live()))
    assert (alert.subject.instrument, alert.finding.typology) == (KEY, "label_cyber@1")
    assert (alert.finding.title, alert.finding.severity) == ("An attack", "info")
    assert alert.finding.p_value is not None
    assert alert.finding.p_value <= 0.05
    replayed = asyncio.run(by_history([record_message("news", one) for one in (record, quiet)], stages))
    (again,) = rung(replayed.alerts)
    assert (again.alert_id, again.finding) == (alert.alert_id, alert.finding)


def test_a_changed_label_is_a_changed_configuration(
    made: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = TextEncoder(Bundle.load(DEFAULT), [ORT_CPU])
    monkeypatch.setattr("monitor.encoding.TextEncoder", lambda *_, **__: encoder)  # which takes long to open
    file = msgspec.json.decode(made[0].read_bytes(), type=LabelFile)
    (tmp_path / "cyber.json").write_bytes(msgspec.json.encode(msgspec.structs.replace(file, title="Other")))
    configs = [
        load_stages(Settings(labels=folder), lambda _: None).instrument.decides.config
        for folder in (None, made[0].parent, tmp_path, made[0].parent)
    ]
    assert len(set(configs)) == 3
    assert configs[1] == configs[3]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"encoder": "0" * 12}, "was made with the text encoder 000000000000 of bundle"),
        ({"direction": [1.0] * 100}, "has a direction of 100 numbers, vectors of bundle"),
        ({"threshold": float("nan")}, "is no label (Expected `float`, got `null`"),
        ({"name": "other"}, "holds the label other: rename it to other.json"),
        ({"severity": "loud"}, "is no label (Invalid enum value 'loud'"),
        ({"budget": 0.5}, "is no label (a text at the threshold has p-value"),
    ],
)
def test_a_label_that_cannot_serve_keeps_the_daemon_from_starting(
    made: tuple[Path, str], tmp_path: Path, changes: dict[str, Any], sentence: str
) -> None:
    file = msgspec.json.decode(made[0].read_bytes()) | changes
    path = tmp_path / "cyber.json"
    path.write_bytes(msgspec.json.encode(file))
    with pytest.raises(StartupError) as raised:
        load_labels(tmp_path, Bundle.load(DEFAULT), "fp32")
    told = str(raised.value)
    assert told.startswith(f"{path} ")
    assert sentence in told
    assert "remove" in told or "rename" in told
    code, output, _ = run("check-config", labels=str(tmp_path))
    assert code == 1
    assert f"TOCSIN_LABELS: {told}" in output


def test_a_folder_without_labels_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match=r"holds no label: .* unset TOCSIN_LABELS"):
        load_stages(Settings(labels=tmp_path), lambda _: None)


def test_what_cannot_be_made_is_one_sentence_before_anything_is_encoded(tmp_path: Path) -> None:
    few = table(tmp_path / "few.csv", list(ATTACKS[:7]))
    examples = table(tmp_path / "examples.csv", list(ATTACKS))
    usual = table(tmp_path / "usual.csv", [f"Acme sells {n}" for n in range(100)])
    usual_few = table(tmp_path / "usual_few.csv", [f"Acme sells {n}" for n in range(7)])
    none = tmp_path / "none.csv"
    none.write_text("a,b\n1,2\n")
    out = str(tmp_path / "cyber.json")

    def refused(name: str, examples: str, background: str, *more: str) -> str:
        command = ("labels", "add", name, "--examples", examples, "--background", background, *more)
        code, told, error = run(*command, "--out", out, bundle=str(tmp_path / "nowhere"))
        assert (code, told) == (2, "")
        assert error.startswith("tocsin: ")
        return error

    assert "takes 999 calibration scores, there are 50: calibrate on more, or allow more alarms" in refused(
        "cyber", examples, usual
    )
    assert "a label takes 8 to 32 examples, there are 7" in refused("cyber", few, usual)
    assert "at least 32 texts that are not of it, there are 7" in refused("cyber", examples, usual_few)
    assert "has the columns a, b: expected a column text" in refused("cyber", str(none), usual)
    assert "'Cyber' is no name" in refused("Cyber", examples, usual)
    assert "would not be found by its name: expected a file other.json" in refused("other", examples, usual)
    assert "expected one of info, warning, critical, found 'loud'" in refused(
        "cyber", examples, usual, "--severity", "loud"
    )
    assert "cannot be read" in refused("cyber", str(tmp_path / "absent.csv"), usual)
    assert "nowhere is no bundle" in refused("cyber", examples, usual, "--budget", "0.05")
    assert not Path(out).exists()


def test_a_background_that_says_one_thing_only_is_a_sentence(tmp_path: Path) -> None:
    examples = table(tmp_path / "examples.csv", list(ATTACKS))
    usual = table(tmp_path / "usual.csv", ["Acme pays a dividend"] * 64)
    command = ("labels", "add", "cyber", "--examples", examples, "--background", usual, "--budget", "0.1")
    code, _, error = run(*command, "--out", str(tmp_path / "cyber.json"))
    assert code == 2
    assert "The label cannot be made of these texts: " in error


def test_texts_are_read_as_the_daemon_encodes_them(tmp_path: Path) -> None:
    record = msgspec.structs.replace(news(0.0), body="Its auditor resigned.")
    lines = tmp_path / "news.ndjson"
    lines.write_bytes(msgspec.json.encode(record) + b'\n{"text": "We missed."}\n{"headline": " "}\n')
    assert read_texts(lines) == ["Shares plunge. Its auditor resigned.", "We missed."]
    with RecordingWriter(tmp_path / "recording", source="test") as writer:
        writer.append(record_message("news", record))
    assert read_texts(tmp_path / "recording") == ["Shares plunge. Its auditor resigned."]
    column = tmp_path / "column.csv"
    column.write_bytes('\ufeffheadline\n"Up, and down"\n\nÜber\n'.encode())
    assert read_texts(column) == ["Up, and down", "Über"]
    lines.write_bytes(b'{"text": 3}\n')
    with pytest.raises(StartupError, match=r"news\.ndjson cannot be read"):
        read_texts(lines)
    column.write_bytes(b"text\n\n")
    with pytest.raises(StartupError, match=r"column\.csv has no texts"):
        read_texts(column)
    column.write_bytes(b"text\n\xff\n")
    with pytest.raises(StartupError, match=r"column\.csv cannot be read .*CSV in UTF-8"):
        read_texts(column)
