"""`tocsin drift`: signals of a replay or a recording, one a line, and one of them as a page."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from monitor.cli import app
from monitor.drifts import in_folder, ordered
from monitor.recording_format import Message
from monitor.recording_writer import RecordingWriter
from monitor.report import drifting
from monitor.report.page import Note, Plot, Table
from schemas.records import Drift
from tests.golden.examples import EXAMPLES, T
from tests.replays import written

MINUTE = 60 * 10**9
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
VALUES = [1.0, 2.0] * 20 + [5.0, 6.0] * 5


def signal(number: int, **fields: object) -> Drift:
    (drift,) = (one.record for one in EXAMPLES if one.name == "drift" and isinstance(one.record, Drift))
    return msgspec.structs.replace(drift, drift_id=f"{number}".rjust(32, "a"), **fields)


MOVED = signal(
    1,
    since=T - 10 * MINUTE,
    before=1.5,
    after=5.5,
    times=[T - (len(VALUES) - at) * MINUTE for at in range(len(VALUES))],
    values=VALUES,
)
STALE = signal(
    2, subject="BETA.XTOC", instruments=["BETA.XTOC"], kind="stale_feed", stream="ticks", ts_available=T + MINUTE
)
CROWD = signal(
    3,
    subject="market",
    scope="market",
    stream="instruments",
    before=0.2,
    after=2.0,
    instruments=["ACME.XTOC", "BETA.XTOC"],
    ts_available=T + 2 * MINUTE,
)
ALL = [MOVED, STALE, CROWD]


@pytest.fixture
def replayed(tmp_path: Path) -> Path:
    return written(tmp_path / "replayed", [CROWD, MOVED, STALE], [], T)


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["drift", *arguments])
    return done.exit_code, " ".join(done.output.split())


def test_signals_of_a_replay_are_listed_as_they_became_known_with_their_values(replayed: Path) -> None:
    assert [(one.subject, one.values) for one in in_folder(replayed)] == [
        ("ACME.XTOC", VALUES), ("BETA.XTOC", []), ("market", []),
    ]  # fmt: skip
    code, told = run("--from", str(replayed))
    assert code == 0
    assert told.index("market ACME.XTOC volatility level 1.5 5.5") < told.index("stale feed BETA.XTOC ticks")
    assert "3 signals" in told
    code, told = run("--from", str(replayed), "--kind", "stale_feed", "--json")
    assert json.loads(told)["subject"] == "BETA.XTOC"
    code, told = run("--from", str(replayed), "--subject", "market")
    assert (code, "1 signals" in told) == (0, True)
    code, told = run(
        "--from", str(replayed), "--since", (EPOCH + timedelta(microseconds=STALE.ts_available // 1000)).isoformat()
    )
    assert (code, "2 signals" in told, "ACME.XTOC" in told) == (0, True, False)


def test_signals_of_a_recording_are_listed_once(tmp_path: Path) -> None:
    with RecordingWriter(tmp_path / "day", source="test") as writer:
        for offset in range(2):
            writer.append(Message("drift", b"ACME.XTOC", msgspec.json.encode(MOVED), T, T, T // 10**6, offset=offset))
    assert in_folder(tmp_path / "day") == [MOVED]
    assert ordered([STALE, MOVED, STALE]) == [MOVED, STALE]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--kind", "boredom"), "--kind: expected one of market, stale_feed"),
        (("--out", "x.html"), "say which by its id"),
        (("f", "--out", "x.html"), "No drift signal begins with 'f'"),
        (("a",), "'a' begins 3 ids"),
    ],
)
def test_what_cannot_be_shown_is_refused_in_a_sentence(replayed: Path, arguments: tuple[str, ...], told: str) -> None:
    code, output = run("--from", str(replayed), *arguments)
    assert (code, told in output) == (2, True), output


def test_a_recording_without_signals_says_how_to_make_some(tmp_path: Path) -> None:
    with RecordingWriter(tmp_path / "day", source="test") as writer:
        writer.append(Message("news", b"ACME.XTOC", b"{}", T, T, T // 10**6, offset=0))
    code, output = run("--from", str(tmp_path / "day"))
    assert (code, "holds no drift signals, only news: replay it" in output) == (2, True)


def test_a_page_shows_the_values_before_and_since(replayed: Path, tmp_path: Path) -> None:
    out = tmp_path / "drift.html"
    code, output = run(MOVED.drift_id, "--from", str(replayed), "--out", str(out))
    assert (code, "market: ACME.XTOC, volatility" in output) == (0, True), output
    assert "40 before, of median 1.5, 10 since, of median 5.5; its level moved" in out.read_text()

    moved, others, rests = drifting.page(MOVED, ALL).sections
    (plot,) = (block for block in moved.blocks if isinstance(block, Plot))
    before, since = plot.figure.data
    assert (list(before.y), list(since.y)) == (VALUES[:40], VALUES[40:])
    assert plot.table is not None
    assert len(plot.table.rows) == len(VALUES)
    (table,) = (block for block in others.blocks if isinstance(block, Table))
    assert [row[1] for row in table.rows] == ["BETA.XTOC", "market"]
    assert rests.anchor == "rests"


def test_texts_of_one_moment_and_late_ones_are_parted_where_the_medians_are_told_of() -> None:
    since = T - MINUTE
    times = [T - 9 * MINUTE, since, T - 8 * MINUTE, since, since, T]
    values = [1.0, 1.0, 2.0, 2.0, 7.0, 7.0]
    told = signal(4, stream="words", since=since, before=1.5, after=7.0, times=times, values=values)
    (plot,) = drifting.page(told, [told]).sections[0].blocks
    assert isinstance(plot, Plot)
    assert [list(part.y) for part in plot.figure.data] == [[1.0, 1.0, 2.0, 2.0], [7.0, 7.0]]
    assert plot.figure.layout.yaxis.title.text == "a text's embedding"


def test_a_crowd_names_its_instruments_and_shows_what_each_did() -> None:
    moved, others, _ = drifting.page(CROWD, ALL).sections
    assert moved.blocks == [Note("instruments that drifted within an hour: 0.2 before, 2 now.")]
    note, table = others.blocks
    assert note == Note("2 instruments together: ACME.XTOC, BETA.XTOC.")
    assert isinstance(table, Table)
    assert table.caption == "2 signals of its own instruments, 0 of others"


def test_a_flaw_of_the_feed_warns_that_it_is_not_the_markets() -> None:
    (warning,) = drifting.page(STALE, ALL).warnings
    assert "It is of the data, not the market." in warning
