"""A recording in shards and in parts gives what it gives in one piece, also where a worker is killed on the way."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import msgspec
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.instruments import DEFAULT_SYMBOLS, SymbolMaster
from engines.simulator.day import Config
from monitor import shards, simulation
from monitor.errors import StartupError
from monitor.recordings import Recording
from monitor.replay_history import Course, by_history, market_of
from monitor.replay_output import Replay
from monitor.replay_range import Range
from monitor.replay_run import Loaded
from monitor.replay_writer import ReplayWriter
from monitor.replayed import Replayed
from monitor.settings import Settings
from monitor.shards import Carried, Job, deal, job_of, part, seams, weigh
from schemas.alerts import Alert, digest
from schemas.topics import INSTRUMENT_INPUTS
from tests.golden.day import RECORDING
from tests.integration.daemon import stages

S = 1_000_000_000


@cache
def whole() -> Replayed:
    return asyncio.run(by_history(Recording.open(RECORDING).messages(), stages(), Course(until_ns=span()[1])))


def span() -> tuple[int, int]:
    recording = Recording.open(RECORDING, verify=False)
    return recording.first_ns, recording.last_ns


def job(**others: object) -> Job:
    made = job_of(Settings(), Recording.open(RECORDING), Loaded(stages()), Range(), 0, written=False)
    return replace(made, **others)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let parts that run here share the stages of other tests, which encode each text once."""
    monkeypatch.setattr(shards, "load", lambda settings, rules: Loaded(stages()))
    monkeypatch.setattr(shards, "_here", None)


@given(st.dictionaries(st.binary(max_size=3), st.floats(0, 1e9), max_size=20), st.integers(1, 8))
def test_every_key_is_dealt_out_once(weights: dict[bytes, float], count: int) -> None:
    dealt = deal(weights, count)
    assert sorted(key for keys in dealt for key in keys) == sorted(weights)
    assert len(dealt) == min(count, len(weights))


def test_weights_follow_what_is_there() -> None:
    recording = Recording.open(RECORDING)
    full, rules = (weigh(recording, INSTRUMENT_INPUTS, level) for level in (0, 2))
    assert {key.decode() for key in full} == {"JUNIPER.XTOC", "TERRACE.XTOC", "CINDER.XTOC", "market"}
    assert rules[b"market"] < full[b"market"] < full[b"CINDER.XTOC"], "words cost where a model is asked"
    sizes: dict[bytes, int] = {}
    for message in recording.messages(["frames"]):
        sizes[message.key] = sizes.get(message.key, 0) + len(message.value)
    told = recording.keys("frames")
    assert sum(count for count, _ in told.values()) == recording.rows(["frames"])
    assert {key: size for key, (_, size) in told.items()} == pytest.approx(sizes, rel=0.2)


def in_parts(keys: frozenset[bytes], stops: Sequence[int]) -> Replayed:
    found, carried = Replayed(), None
    for stop_ns in (*stops, 0):
        one, carried = part(job(), keys, carried, stop_ns)
        found.add(one.replayed())
        assert carried is not None
    return found


@pytest.mark.parametrize("seed", range(6))
def test_shards_in_parts_give_what_the_whole_gives(seed: int) -> None:
    """Cut anywhere, also inside of frames: at random seconds, and within the seconds at which something rang."""
    rng = random.Random(seed)
    keys = [b"CINDER.XTOC", b"JUNIPER.XTOC", b"TERRACE.XTOC", b"market"]
    rng.shuffle(keys)
    first_ns, last_ns = span()
    found = Replayed()
    cut = rng.randint(1, 3)
    for mine in (frozenset(keys[:cut]), frozenset(keys[cut:])):
        rung = [alert.times.available_at for alert in whole().alerts]
        moments = rng.sample(rung, 4) + [rng.randint(first_ns, last_ns) for _ in range(2)]
        found.add(in_parts(mine, sorted({at_ns - at_ns % S + S for at_ns in moments})))
    assert found.clock_ns == whole().clock_ns
    asyncio.run(market_of(found, stages()))
    assert digest(found.alerts) == digest(whole().alerts)
    assert found.messages == whole().messages
    assert found.ticks == whole().ticks
    assert (found.scores, found.signals) == (whole().scores, whole().signals)
    by_id = {alert.alert_id: alert for alert in whole().alerts}
    assert all(alert.evidence == by_id[alert.alert_id].evidence for alert in found.alerts)


def test_a_part_is_the_same_when_it_is_run_again() -> None:
    """What is handed to it stays as it is, so a part that was lost can begin again from there."""
    first_ns, last_ns = span()
    middle_ns = (first_ns + last_ns) // 2 // S * S
    keys = frozenset({b"TERRACE.XTOC"})
    _, carried = part(job(), keys, None, middle_ns)
    once, again = (part(job(), keys, carried, 0)[0] for _ in range(2))
    assert once.records == again.records
    assert once.replayed().alerts


def test_a_stream_that_ends_early_goes_on_to_the_end_of_the_others() -> None:
    last_ns = span()[1]
    carried: Carried | None = None
    for stop_ns in (last_ns // S * S + 60 * S, 0):
        found, carried = part(job(), frozenset({b"market"}), carried, stop_ns)
    assert found.counts.clock_ns == last_ns // S * S


@pytest.mark.parametrize(
    ("others", "said"),
    [
        ({"digest": "0" * 64}, "has the digest .* at a worker and 000000000000… here"),
        ({"version": "0.0.1"}, "at a worker and 0.0.1 here: install the same release"),
        ({"recording": "/nowhere"}, "/nowhere is no recording"),
    ],
)
def test_a_worker_that_has_something_else_says_so(others: dict[str, str], said: str) -> None:
    with pytest.raises(StartupError, match=said):
        part(job(**others), frozenset({b"market"}), None, 0)


def test_a_worker_that_decides_otherwise_says_so() -> None:
    mine = job()
    other = msgspec.structs.replace(mine.decides, config="other")
    with pytest.raises(StartupError, match="give all workers the same bundle, symbols, labels and rules"):
        part(replace(mine, decides=other), frozenset({b"market"}), None, 0)


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with (
        pytest.raises(StartupError, match=r"--shards needs Ray: install the extra `ray`"),
        shards.connected("", 2),
    ):
        raise AssertionError


@pytest.fixture(scope="module")
def days(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("days") / "days"
    config = Config(seed=3, days=2, hours=1.5, ticks_a_second=6, articles_an_hour=20, posts_an_hour=20, calls=2)
    simulation.write(path, config, simulation.companies_of(SymbolMaster.load(DEFAULT_SYMBOLS)))
    return path


def test_state_is_handed_on_at_each_midnight_with_messages_on_either_side(days: Path) -> None:
    recording = Recording.open(days)
    (only,) = seams(recording, INSTRUMENT_INPUTS, Range())
    assert only % (86_400 * S) == 0
    assert recording.first_ns < only < recording.last_ns
    assert seams(recording, INSTRUMENT_INPUTS, Range(to_ns=only + S)) == []
    assert seams(recording, INSTRUMENT_INPUTS, Range(from_ns=only + S)) == []


def replay_of(days: Path, out: Path, *options: str, meanwhile: Callable[[psutil.Process], None] | None = None) -> str:
    """Run `tocsin replay`; return the digest that it prints."""
    command = [sys.executable, "-m", "monitor.cli", "replay", str(days), "--out", str(out), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        if meanwhile is not None:
            meanwhile(psutil.Process(process.pid))
        told, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return told.splitlines()[-1]


def kill_one(process: psutil.Process) -> None:
    """Kill the first worker that has been at its part for a while, as the want of memory would."""
    deadline_s = time.monotonic() + 120
    while time.monotonic() < deadline_s and process.is_running():
        for one in process.children(recursive=True):
            try:
                if one.cmdline()[0].startswith("ray::part") and one.cpu_times().user > 4.5:
                    one.kill()
                    return
            except (psutil.Error, IndexError):
                continue
        time.sleep(0.05)
    raise AssertionError("no worker was at a part")


@pytest.mark.slow
def test_workers_of_ray_find_what_one_process_finds_though_one_is_killed(days: Path, tmp_path: Path) -> None:
    expected = replay_of(days, tmp_path / "one")
    assert replay_of(days, tmp_path / "two", "--shards", "2", meanwhile=kill_one) == expected
    assert replay_of(days, tmp_path / "four", "--shards", "4") == expected
    one, *others = (Replay.open(tmp_path / name) for name in ("one", "two", "four"))
    for other in others:
        assert bare(other.alerts()) == bare(one.alerts())
        assert other.manifest.counts == one.manifest.counts
        for table in ("scores", "signals", "tracks"):
            # Each shard numbers its moments from 0, and rows stand in the order of shards.
            columns = [name for name in one.table(table).column_names if name != "order"]
            ours, theirs = (
                replayed.table(table).select(columns).sort_by([(name, "ascending") for name in columns])
                for replayed in (one, other)
            )
            assert ours.equals(theirs), table
    assert not list(tmp_path.glob("*.part"))


def bare(alerts: Sequence[Alert]) -> list[Alert]:
    """Return alerts without the run that each was found by, all of a folder by one."""
    assert len({alert.provenance.run_id for alert in alerts}) == 1
    return [
        msgspec.structs.replace(alert, provenance=msgspec.structs.replace(alert.provenance, run_id=""))
        for alert in alerts
    ]


def test_a_folder_takes_pieces_as_it_takes_what_is_said(tmp_path: Path) -> None:
    """Covered end to end above; here without Ray: two shards, two parts each, a folder each way."""
    first_ns, last_ns = span()
    middle_ns = (first_ns + last_ns) // 2 // S * S
    with ReplayWriter(tmp_path / "pieces", specs=stages().specs, canonical=True) as writer:
        for keys in (frozenset({b"TERRACE.XTOC"}), frozenset({b"CINDER.XTOC", b"JUNIPER.XTOC", b"market"})):
            carried = None
            for stop_ns in (middle_ns, 0):
                found, carried = part(job(written=True), keys, carried, stop_ns)
                writer.absorb(found.pieces, found.moments)
        moments = writer.moments
        tracks = writer.pieces(last=True)["tracks.parquet"]
    with ReplayWriter(tmp_path / "whole", specs=stages().specs, canonical=True) as other:
        asyncio.run(
            by_history(
                Recording.open(RECORDING).messages(), stages(), Course(until_ns=last_ns), sink=other, market=False
            )
        )
        assert other.moments == moments
        assert rows(other.pieces(last=True)["tracks.parquet"]) == rows(tracks)


def rows(parquet: bytes) -> list[tuple[object, ...]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(pa.BufferReader(parquet)).drop(["order"])
    return sorted(zip(*(column.to_pylist() for column in table.columns), strict=True), key=repr)
