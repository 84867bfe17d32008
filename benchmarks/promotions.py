"""Latency while models are promoted and rolled back under load, beside the same load without.

    python -m benchmarks.promotions [--seconds 120] [--every 20] [--causes 400]

Gateway, daemon, load and causes are those of `benchmarks.latency`. One run in two halves of ``--seconds`` each: nothing
is promoted in the first; in the second, every ``--every`` seconds, another model is promoted or rolled back, so that
the daemon fetches, loads, tries and swaps all the time. The causes of both halves are drawn alike. What counts is an
alert that does not wait for a bar's close, from the tick or text that completes its cause to a consumer.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import msgspec

from benchmarks import harness
from benchmarks.harness import percentile
from benchmarks.latency import (
    Load,
    Seen,
    kind_of,
    loadavg,
    measure,
    metrics_page,
    plan,
    processes,
    texts_by_score,
)
from engines.bundle import DEFAULT, MANIFEST, Bundle, Entry, Manifest, sha256_of
from engines.instruments import DEFAULT_SYMBOLS, SymbolMaster
from monitor.control import publish
from monitor.registry import Model, Registry
from monitor.settings import Settings
from schemas.control import Promotion


def another(registry: Path, folder: Path) -> Model:
    """Put a model into a registry that is the shipped one with texts that are a little less sure."""
    shutil.copytree(DEFAULT, folder)
    spec = msgspec.json.decode((folder / "text.json").read_bytes())
    spec["temperature"] *= 1.001
    (folder / "text.json").write_bytes(msgspec.json.encode(spec))
    manifest = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
    path = folder / "text.json"
    files = manifest.files | {path.name: Entry(sha256_of(path), path.stat().st_size)}
    (folder / MANIFEST).write_bytes(msgspec.json.encode(msgspec.structs.replace(manifest, files=files)))
    return Registry(registry).add(folder, "other", author="bench", reason="", origin=str(folder), now_ns=time.time_ns())


async def change(settings: Settings, model: Model, first_s: float, every_s: float, count: int) -> None:
    """Promote a model and roll back, in turns, from ``first_s`` on."""
    await asyncio.sleep(first_s)
    for number in range(count):
        back = number % 2 == 1
        await publish(
            settings,
            Promotion(
                model="" if back else model.id,
                name="" if back else model.name,
                change="rollback" if back else "promotion",
                previous=model.id if back else "",
                published_ns=time.time_ns(),
                author="bench",
                reason="",
            ),
        )
        await asyncio.sleep(every_s)


def swapped(address: str) -> int:
    """Return how many bundles the daemon has swapped."""
    (found,) = re.findall(r'^tocsin_bundle_swaps_total\{result="swapped"\} (\S+)$', metrics_page(address), re.M)
    return int(float(found))


def main() -> None:
    """Run it, print the table and the closing JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=120.0, help="of each half")
    parser.add_argument("--every", type=float, default=20.0)
    parser.add_argument("--warm-up", type=float, default=20.0)
    parser.add_argument("--causes", type=int, default=400)
    arguments = parser.parse_args()
    seconds = arguments.seconds
    master = SymbolMaster.load(DEFAULT_SYMBOLS)
    texts = texts_by_score([listing.name for listing in master.listings.values()])
    causes = plan(arguments.causes, 2 * seconds, master)
    changes = max(1, int(seconds // arguments.every))
    # The load's thread shall not keep the consumers' from their messages.
    sys.setswitchinterval(0.0005)
    with harness.broker() as servers, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = harness.fresh_settings(
            servers, registry=str(folder / "models"), cache=folder / "cache", allow_unsigned=True
        )
        model = another(folder / "models", folder / "other")
        load = Load(settings, master, causes, texts)

        async def both(address: str, pids: list[int]) -> tuple[list[Seen], int]:
            measured = asyncio.create_task(
                measure(settings, load, causes, 2 * seconds, arguments.warm_up, address, pids)
            )
            while not load.is_alive():
                if measured.done():
                    await measured  # it failed before the load began
                await asyncio.sleep(0.1)
            await change(settings, model, arguments.warm_up + seconds, arguments.every, changes)
            run = await measured
            return [s for s in run.seen if s.alert.data.times.event_end >= run.begin_ns], run.begin_ns

        with processes(settings, folder) as (address, pids):
            seen, begin_ns = asyncio.run(both(address, pids))
            count = swapped(address)
        load.stopping.set()
        load.join()
    immediate = [s for s in seen if kind_of(s) not in ("", "elevated_risk, bar's close")]
    middle_ns = begin_ns + int(seconds * 1e9)
    halves = [[s for s in immediate if (s.alert.data.times.event_end < middle_ns) == first] for first in (True, False)]
    waits_ms = [[(s.at_ns - s.alert.data.times.event_end) / 1e6 for s in half] for half in halves]
    harness.table(
        "ms from cause to alert",
        ("", "alerts", "p50", "p90", "p99", "max"),
        [
            (name, len(half), *(f"{percentile(half, p):.1f}" for p in (50, 90, 99, 100)))
            for name, half in zip(("nothing promoted", f"{count} swaps"), waits_ms, strict=True)
        ],
    )
    twice = sum(n - 1 for n in Counter(s.alert.data.alert_id for s in seen).values())
    decided = {s.alert.data.provenance.bundle for s in seen} - {""}
    wanted = {"jump": "market_anomaly", "burst": "pump_and_dump", "headline": "adverse_text", "segment": "adverse_text"}
    found = {(s.alert.data.finding.typology.partition("@")[0], s.alert.data.subject.instrument) for s in immediate}
    missed = [one.instrument for one in causes if (wanted[one.kind], one.instrument) not in found]
    print(f"causes: {len(causes)}, without an alert: {', '.join(missed) or 'none'}; alerts told twice: {twice}")
    print(f"bundles that decided: {len(decided)}; load of the machine {loadavg()}")
    harness.close(
        benchmark="promotions",
        swaps=count,
        bundles=len(decided & {model.bundle, Bundle.load(DEFAULT).id}),
        p99_ms=round(percentile(waits_ms[1], 99), 1),
        p99_ratio=round(percentile(waits_ms[1], 99) / percentile(waits_ms[0], 99), 3),
        missed=len(missed),
        twice=twice,
    )


if __name__ == "__main__":
    main()
