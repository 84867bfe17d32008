"""Ticks a second of `tocsin replay` over a generated day, without neural models and with the default bundle.

    python -m benchmarks.replay [--ticks 20000000] [--instruments 6] [--shards 5] [--only rules models …]

The day is the demo's simulator at a higher rate, written as it writes any day: frames of 500 ticks or a second of
``ts_available``, whichever is first; what frames came of it is printed. Texts, calls, sound and charts are those of as
many demo days as have as many ticks, so that each million ticks has the demo day's number of them, all different;
order events and transfers are left out. A smaller ``--ticks`` is a shorter session of the same density, without events
where it is half a day or less. The day is made once, under build/bench.

Every contender is a process of its own. `rules` replays all messages under the ladder's last level, on one core, with
windows, features and typologies and no trained model; `models` replays them with the default bundle on all cores;
`parquet` reads the same files with pyarrow alone, and `windows` groups the same trades, decoded beforehand, into
minutes with Polars, each on one core. `shards` is what `tocsin replay --shards` does, without models, by one worker of
Ray and by two that have loaded what they need, best of ``--shards`` alternating runs. `l2` is for correctness:
../shared/data/crypto_l2_ticks must give the same scores and alerts however its ticks are packed.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow.parquet as pq

from benchmarks import harness
from benchmarks.harness import Usage
from engines.instruments import DEFAULT_SYMBOLS, SymbolMaster
from engines.simulator.day import Config, simulate
from engines.simulator.words import Company
from monitor.converters.messages import cut, frame_messages, merged, record_message
from monitor.recording_writer import RecordingWriter
from monitor.recordings import Message, Recording
from monitor.simulation import companies_of
from schemas import codec, frames
from schemas.frames import DTYPES, Frame, Kind, frame_of

CACHE = Path("build/bench")
#: Frames a session of this length has when it has 20 M ticks.
TICKS, HOURS = 20_000_000, 6.5
WORDS = ("news", "transcripts", "audio", "charts")
MINUTE_NS = 60_000_000_000
ENCODERS = 24


# The day.


def demo_day(config: Config, companies: list[Company]) -> dict[str, list[Message]]:
    """Return what is written, said and drawn on a demo day; ids are its seed's own."""
    (day,) = simulate(config, companies)
    seed = config.seed
    articles = [replace(article, document_id=f"{seed}-{article.document_id}") for article in day.articles]
    spoken = [[msgspec.structs.replace(one, call_id=f"{seed}-{one.call_id}") for one in said]
              for said in (day.transcripts, day.audio)]  # fmt: skip
    news = [item for article in articles for item in article.news()]
    records: dict[str, Sequence[Any]] = dict(zip(WORDS, (news, *spoken, day.charts), strict=True))
    return {topic: [record_message(topic, one) for one in many] for topic, many in records.items()}


def write(path: Path, ticks: int, instruments: int) -> None:
    """Write the day, and beside it what a million ticks of it and of the demo day have."""
    master = companies_of(SymbolMaster.load(DEFAULT_SYMBOLS))
    traded, share = master[:instruments], ticks / TICKS
    # The demo's twenty companies, so many to an instrument.
    told = [replace(one, instrument=traded[i % instruments].instrument) for i, one in enumerate(master)]
    hours = HOURS * share
    # A session that is much shorter than the demo's has no room for its events.
    config = Config(hours=hours, typologies=Config().typologies if share > 0.5 else ())
    (demo,) = simulate(Config(), master)
    demo_ticks = sum(map(len, demo.ticks))
    days = round(TICKS / demo_ticks)
    (sparse,) = simulate(config, traded)
    rate = ticks / sum(map(len, sparse.ticks)) * config.ticks_a_second
    words: dict[str, list[Message]] = {topic: [] for topic in WORDS}
    for number in range(days):
        calls = config.calls if number < round(days * share) else 0
        for topic, messages in demo_day(replace(config, seed=100 + number, calls=calls), told).items():
            words[topic] += messages
    (day,) = simulate(replace(config, ticks_a_second=rate), traded)
    sizes = [len(part) for frame in day.ticks for part in cut(frame)]
    written = sum(sizes)
    with RecordingWriter(path, source="bench-replay", parameters={"ticks": written}) as writer:
        for message in merged([frame_messages(frame) for frame in day.ticks]):
            writer.append(message)
        for messages in words.values():
            for message in sorted(messages, key=lambda one: one.ts_available):
                writer.append(message)
    demo_words = (sum(len(a.news()) for a in demo.articles), len(demo.transcripts), len(demo.audio), len(demo.charts))
    about = {
        "ticks": written,
        "frames": len(sizes),
        "frame_ticks": np.percentile(sizes, [5, 25, 50, 75, 95]).tolist(),
        "kinds": {kind.name.lower(): sum(int((f.kind == kind).sum()) for f in day.ticks) for kind in Kind},
        "words": {topic: len(messages) for topic, messages in words.items()},
        "demo_ticks": demo_ticks,
        "demo_words": dict(zip(WORDS, demo_words, strict=True)),
    }
    path.with_name(f"{path.name}.json").write_text(json.dumps(about))


def prepared(ticks: int, instruments: int) -> Path:
    """Return the day's folder, made by a process of its own where it is not there yet."""
    path = CACHE / f"replay-{ticks}-{instruments}"
    if not (path.is_dir() and path.with_name(f"{path.name}.json").is_file()):
        shutil.rmtree(path, ignore_errors=True)
        began_s = time.monotonic()
        subprocess.run([sys.executable, "-m", "benchmarks.replay", "write", str(path), str(ticks), str(instruments)],
                       check=True)  # fmt: skip
        print(f"made {path} in {time.monotonic() - began_s:.0f} s")
    return path


# The contenders, each in a process of its own.


def replayed(path: Path, level: int, threads: int) -> dict[str, Any]:
    """Replay the day; return ticks, time, what came out, and resident memory at each quarter of the stream."""
    from monitor.replay_history import Course, by_history
    from monitor.replay_run import brought
    from monitor.settings import load
    from monitor.stage import load_stages
    from schemas.alerts import digest

    recording = Recording.open(path, verify=False)
    stages = load_stages(brought(load(), recording), lambda _: None, mode="replay")
    quarters = [recording.first_ns + (recording.last_ns - recording.first_ns) * k // 4 for k in range(1, 5)]
    rss_mb: list[float] = []

    async def beat(now_ns: int) -> None:
        while len(rss_mb) < 4 and now_ns >= quarters[len(rss_mb)] - 1_000_000_000:
            rss_mb.append(round(Usage.of().rss_mb, 1))
        await asyncio.sleep(0)

    pool = ThreadPoolExecutor(threads) if threads else None
    if pool is not None:
        sys.setswitchinterval(0.0005)
    gc.collect()
    gc.freeze()
    before = Usage.of()
    messages = recording.messages(stages.instrument.topics)
    found = asyncio.run(by_history(messages, stages, Course(beat=beat, level=level, pool=pool)))
    after = Usage.of()
    return {
        "ticks": found.ticks,
        "messages": found.messages,
        "wall_s": after.at_s - before.at_s,
        "cpu_s": after.cpu_since(before),
        "rss_mb": rss_mb,
        "scores": found.scores,
        "alerts": len(found.alerts),
        "digest": digest(found.alerts),
    }


def parquet(path: Path) -> dict[str, Any]:
    """Read every column of every file with pyarrow, row group by row group."""
    before = Usage.of()
    rows = 0
    for file in sorted(path.glob("*/*.parquet")):
        with pq.ParquetFile(file) as opened:
            for group in range(opened.num_row_groups):
                rows += len(opened.read_row_group(group, use_threads=False))
    after = Usage.of()
    return {"rows": rows, "wall_s": after.at_s - before.at_s, "cpu_s": after.cpu_since(before)}


def windows(path: Path) -> dict[str, Any]:
    """Group ticks that are already in columns into minutes: open, high, low, close, volume, number."""
    import polars as pl

    columns: dict[str, list[Any]] = {"instrument": [], "ts": [], "price": [], "size": []}
    for message in Recording.open(path, verify=False).messages(["frames"]):
        frame = frames.decode(message.value, message.key)
        trades = frame.kind == Kind.TRADE
        columns["instrument"].append(np.full(int(trades.sum()), frame.instrument))
        for name, column in (("ts", frame.ts_event), ("price", frame.price), ("size", frame.size)):
            columns[name].append(column[trades])
    table = pl.DataFrame({name: np.concatenate(parts) for name, parts in columns.items()})
    table = table.with_columns(pl.col("instrument").cast(pl.Categorical))
    before = Usage.of()
    grouped = table.group_by("instrument", pl.col("ts") // MINUTE_NS).agg(
        pl.col("price").first().alias("open"),
        pl.col("price").max().alias("high"),
        pl.col("price").min().alias("low"),
        pl.col("price").last().alias("close"),
        pl.col("size").sum(),
        pl.len(),
    )
    after = Usage.of()
    return {
        "ticks": len(table),
        "rows": len(grouped),
        "wall_s": after.at_s - before.at_s,
        "cpu_s": after.cpu_since(before),
    }


def l2(data: Path) -> dict[str, Any]:
    """Replay the real book as converted and packed anew; scores and alerts must be the same to the bit."""
    from monitor.converters import crypto_l2_ticks
    from monitor.converters.conversion import Report
    from monitor.replay_history import by_history
    from monitor.settings import load
    from monitor.stage import load_stages
    from schemas.alerts import digest
    from schemas.records import Score

    messages = list(crypto_l2_ticks.read(data, (), None, Report()).messages)
    stages = load_stages(load(), lambda _: None, mode="replay")

    class Scores:
        def __init__(self) -> None:
            self.found: list[Score] = []

        def begin_stage(self) -> None:
            pass

        def take(self, output: object) -> None:
            if isinstance(output, Score):
                self.found.append(output)

        def refuse(self, letter: object) -> None:
            raise SystemExit(f"a message of the real book could not be used: {letter}")

    told, ticks = [], 0
    for size in (500, 50, 7):
        sink = Scores()
        packed = repacked(messages, size) if size != 500 else messages
        found = asyncio.run(by_history(packed, stages, sink=sink))
        ticks = found.ticks
        told.append((digest(found.alerts), [msgspec.json.encode(score) for score in sink.found]))
    equal = all(one == told[0] for one in told)
    return {"ticks": ticks, "scores": len(told[0][1]), "equal": equal}


def repacked(messages: Sequence[Message], size: int) -> Iterator[Message]:
    """Yield one instrument's ticks in frames of at most ``size``."""
    read = [codec.decode("frames", one.key, one.value, one.timestamp_ms) for one in messages]
    parts = [one for one in read if isinstance(one, Frame)]
    columns = {name: np.concatenate([getattr(one, name) for one in parts]) for name in DTYPES}
    return frame_messages(frame_of(parts[0].instrument, columns), rows=size)


def alone(what: str, *arguments: str, cores: int = 1) -> dict[str, Any]:
    """Run a contender as a process of its own on the first ``cores`` cores; return what it says."""
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.replay", what, *arguments]
    taken = sorted(os.sched_getaffinity(0))[:cores]
    environment = os.environ | {"POLARS_MAX_THREADS": str(cores), "OMP_NUM_THREADS": str(cores)}
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        check=True,
        env=environment,
        preexec_fn=lambda: os.sched_setaffinity(0, taken),
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def sharded(path: Path, workers: int) -> dict[str, Any]:
    """Replay without models by as many shards as Ray has workers, which have loaded what they need."""
    from monitor import settings, shards
    from monitor.replay_range import Range
    from monitor.replay_run import load
    from schemas.alerts import digest
    from schemas.journal import RULES_ONLY

    recording, chosen = Recording.open(path, verify=False), settings.load()
    loaded = load(chosen)
    minute = Range(to_ns=recording.first_ns + MINUTE_NS)
    with shards.connected("", workers) as cluster:
        for wanted in (minute, Range()):
            job = shards.job_of(chosen, recording, loaded, wanted, RULES_ONLY, written=False)
            began_s = time.monotonic()
            found = shards.replay(cluster, job, recording, loaded, shards=workers)
        took_s = time.monotonic() - began_s
        return {"wall_s": took_s, "cpu_s": found.elsewhere_s, "digest": digest(found.alerts)}


# The table.


def main() -> None:
    """Make the day, run every contender, print the table and the closing JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ticks", type=int, default=TICKS, help="ticks of the day; less is a shorter session")
    parser.add_argument("--instruments", type=int, default=6, help="instruments that trade")
    parser.add_argument(
        "--shards", type=int, default=5, help="alternating runs with one worker of Ray and two; 0: none"
    )
    parser.add_argument("--only", nargs="*", default=["rules", "models", "parquet", "windows", "l2", "shards"])
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("TOCSIN_DATA", "../shared/data")))
    options = parser.parse_args()
    path = prepared(options.ticks, options.instruments)
    about = json.loads(path.with_name(f"{path.name}.json").read_text())
    print_day(about)
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    closing: dict[str, float | int | str | bool] = {"benchmark": "replay", "ticks": about["ticks"]}
    rows: list[tuple[str, str, str, str, str]] = []

    def row(name: str, ticks: int, found: dict[str, Any], memory: str = "–") -> None:
        rows.append(
            (
                name,
                f"{ticks / found['wall_s']:,.0f}",
                f"{ticks / found['cpu_s']:,.0f}",
                f"{found['cpu_s'] / ticks * 1e6:.2f}",
                memory,
            )
        )

    for what, name, cores in (
        ("rules", "replay, no models, one core", 1),
        ("models", f"replay, default bundle, {os.cpu_count()} cores", os.cpu_count() or 1),
    ):
        if what in options.only:
            found = alone(what, str(path), cores=cores)
            row(name, found["ticks"], found, " ".join(f"{mb:,.0f}" for mb in found["rss_mb"]))
            key = "no_models" if what == "rules" else "models"
            closing[f"ticks_per_s_{key}"] = round(found["ticks"] / found["wall_s"])
            closing[f"ticks_per_cpu_s_{key}"] = round(found["ticks"] / found["cpu_s"])
            closing["rss_mb"] = max(closing.get("rss_mb", 0), *found["rss_mb"])
    if "parquet" in options.only:
        row("pyarrow, the same Parquet alone", about["ticks"], alone("parquet", str(path)))
    if "windows" in options.only:
        found = alone("windows", str(path))
        row("Polars, minutes of the trades alone", found["ticks"], found)
    columns = ("contender", "ticks/s", "ticks/s of CPU", "µs CPU/tick", "RSS MB at quarters")
    harness.table(f"{about['ticks']:,} ticks", columns, rows)
    if "l2" in options.only and (options.data / "crypto_l2_ticks").is_dir():
        found = alone("l2", str(options.data / "crypto_l2_ticks"))
        print(
            f"crypto_l2_ticks: {found['ticks']:,} ticks, {found['scores']:,} scores, in frames of 500, 50 and 7 "
            f"{'equal' if found['equal'] else 'DIFFERENT'}"
        )
        closing["l2_equal"] = found["equal"]
    if "shards" in options.only and options.shards:
        closing["ray_speedup"] = compare(path, options.shards)
    print(f"load {os.getloadavg()[0]:.1f} at the end")
    harness.close(**closing)


def compare(path: Path, runs: int) -> float:
    """Return how many times faster two workers of Ray are than one, each by its best of alternating runs."""
    found: dict[int, list[dict[str, Any]]] = {1: [], 2: []}
    for _ in range(runs):
        for workers, taken in found.items():
            taken.append(alone("shards", str(path), str(workers), cores=os.cpu_count() or 1))
    digests = {one["digest"] for taken in found.values() for one in taken}
    if len(digests) != 1:
        raise SystemExit(f"one worker and two found other alerts: {', '.join(sorted(digests))}")
    for workers, taken in found.items():
        walls, cpu_s = (", ".join(f"{one[name]:.1f}" for one in taken) for name in ("wall_s", "cpu_s"))
        print(f"Ray, {workers} worker{'s' * (workers > 1)}: {walls} s, of CPU {cpu_s} s")
    one, two = (min(float(run["wall_s"]) for run in taken) for taken in found.values())
    print(f"two workers are {one / two:.2f} times as fast as one, the same digest {digests.pop()}")
    return round(one / two, 2)


def print_day(about: dict[str, Any]) -> None:
    """Say what the day consists of."""
    low, quarter, half, most, high = about["frame_ticks"]
    print(
        f"{about['ticks']:,} ticks in {about['frames']:,} frames: {about['ticks'] / about['frames']:.0f} on average, "
        f"{low:.0f}, {quarter:.0f}, {half:.0f}, {most:.0f} and {high:.0f} at 5, 25, 50, 75 and 95 %"
    )
    print("of them " + ", ".join(f"{count:,} {kind}" for kind, count in about["kinds"].items() if count))
    for topic, count in about["words"].items():
        demo = about["demo_words"][topic] / about["demo_ticks"] * 1e6
        print(f"{topic}: {count:,}, {count / about['ticks'] * 1e6:,.0f} a million ticks (the demo day has {demo:,.0f})")


if __name__ == "__main__":
    from schemas.journal import RULES_ONLY

    parts: dict[str, Any] = {
        "rules": lambda path: replayed(Path(path), RULES_ONLY, 0),
        "models": lambda path: replayed(Path(path), 0, ENCODERS),
        "parquet": lambda path: parquet(Path(path)),
        "windows": lambda path: windows(Path(path)),
        "l2": lambda path: l2(Path(path)),
        "shards": lambda path, workers: sharded(Path(path), int(workers)),
    }
    if len(sys.argv) > 1 and sys.argv[1] == "write":
        write(Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
    elif len(sys.argv) > 1 and sys.argv[1] in parts:
        print(json.dumps(parts[sys.argv[1]](*sys.argv[2:])))
    else:
        main()
