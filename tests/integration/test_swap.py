"""A bundle is swapped while the daemon works: refused, swapped, killed, swapped back; the journal proves it all."""

from __future__ import annotations

import asyncio
import itertools
import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engines.bundle import DEFAULT, Bundle
from monitor.replay import alerts_on_broker
from monitor.settings import Settings
from tests.engines.bundles import alter_bundle
from tests.integration.daemon import Feed, Watch, Worker, account, day, until

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(300)]

#: A second bundle that is not let go takes 200 and more.
SECOND_BUNDLE_MB = 120.0
WARMER = ("text.json", b'"temperature": 1.9585', b'"temperature": 2.5')


def test_a_bundle_is_swapped_under_load_and_nothing_is_lost_or_told_twice(
    topics: Settings, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    current, other, broken = tmp_path / "current", tmp_path / "other", tmp_path / "broken"
    old, new = Bundle.load(DEFAULT).id, Bundle.load(alter_bundle(other, *WARMER)).id
    encoder = alter_bundle(broken, *WARMER) / "encoder.onnx"
    encoder.write_bytes(encoder.read_bytes()[:-1] + b"?")
    current.symlink_to(DEFAULT)
    settings = topics.model_copy(
        update={"clock": "data", "ladder_down_s": 0.0, "checkpoint_interval_s": 1.0, "bundle": current}
    )
    watch, stream = Watch(settings), day()

    def hang_up(to: Path, event: str) -> dict[str, Any]:
        current.unlink()
        current.symlink_to(to)
        worker.signal(signal.SIGHUP)
        until(lambda: worker.events(event), 60, event, [worker])
        (told,) = worker.events(event)
        return told

    def serves() -> str:
        status, body = worker.get("/readyz")
        assert status == 200
        assert worker.get("/livez")[0] == 200
        return str(json.loads(body)["bundle"])

    def alerts_more(count: int) -> None:
        before = watch.end("alerts")
        until(lambda: watch.end("alerts") >= before + count, 60, f"{count} alerts more", [worker])

    with Worker(settings, tmp_path) as worker:
        until(lambda: worker.partitions, 60, "ready", [worker])
        with Feed(settings, stream, rate=len(stream) / 90) as feed:
            alerts_more(3)
            before_mb = worker.rss_mb
            refused = hang_up(broken, "bundle refused, the old one serves on")
            assert "encoder.onnx has SHA-256" in refused["reason"]
            assert serves() == old
            alerts_more(1)
            # What the new bundle decides stands in no checkpoint yet: the next worker has the journal's word for it.
            swapped = [hang_up(other, "bundle swapped")]
            worker.kill()
            worker.start()
            until(lambda: worker.partitions, 60, "ready again", [worker])
            assert serves() == new
            alerts_more(3)
            hang_up(other, "bundle unchanged: what TOCSIN_BUNDLE names serves already")
            swapped.append(hang_up(DEFAULT, "bundle swapped"))
            assert serves() == old
            assert not worker.events_like("decision configuration has changed")
            metrics = worker.get("/metrics")[1]
            alerts_more(1)
            sent = feed.finish()
        until(lambda: watch.acknowledged() == sent, 120, "all is read", [worker])
        record_property("rss_mb", {"before": round(before_mb), "after": round(worker.rss_mb)})
        assert worker.rss_mb < before_mb + SECOND_BUNDLE_MB
        record_property("swaps", [(one["loaded_in_s"], one["swapped_in_s"]) for one in swapped])
        assert worker.drain() == 0

    for result, count in {"swapped": 1, "unchanged": 1, "refused": 0}.items():
        assert f'tocsin_bundle_swaps_total{{result="{result}"}} {float(count)}' in metrics
    assert [(one["was"], one["bundle"]) for one in swapped] == [(old, new), (new, old)]

    found = account(settings, others=[other])
    found.check(messages=len(stream), alerts=10)
    decided = set()
    for partition in range(settings.partitions):
        alerts = asyncio.run(alerts_on_broker(settings, partition))
        bundles = [a.provenance.bundle for a in alerts if not a.finding.typology.startswith("market_wide")]
        stretches = [bundle for bundle, _ in itertools.groupby(bundles)]
        assert ",".join(stretches) in ",".join([old, new, old])
        decided |= set(stretches)
        configs = {(a.provenance.bundle, a.provenance.config) for a in alerts if a.provenance.bundle}
        assert len(configs) == len({bundle for bundle, _ in configs})
    assert decided == {old, new}
