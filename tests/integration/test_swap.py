"""A bundle is swapped while the daemon works: refused, swapped, killed, swapped back; the journal proves it all.

By SIGHUP, and by promotions and rollbacks of models in a registry.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from engines.bundle import DEFAULT, Bundle
from monitor.cli import app
from monitor.replay_logs import alerts_on_broker
from monitor.settings import Settings
from tests.engines.bundles import alter_bundle
from tests.integration.daemon import Feed, Watch, Worker, account, day, until

pytestmark = [pytest.mark.integration, pytest.mark.slow]

#: A second bundle that is not let go takes 200 and more.
SECOND_BUNDLE_MB = 120.0
WARMER = ("text.json", b'"temperature": 1.9585', b'"temperature": 2.5')
MALFORMED = ("text.json", b'"temperature": 1.9585', b'"temperature": "cold"')


def test_a_bundle_is_swapped_under_load_and_nothing_is_lost_or_told_twice(
    topics: Settings, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    current, other, broken = tmp_path / "current", tmp_path / "other", tmp_path / "broken"
    old, new = Bundle.load(DEFAULT).id, Bundle.load(alter_bundle(other, *WARMER)).id
    encoder = alter_bundle(broken, *WARMER) / "encoder.onnx"
    encoder.write_bytes(encoder.read_bytes()[:-1] + b"?")
    current.symlink_to(DEFAULT)
    settings = topics.model_copy(
        update={"clock": "data", "ladder_down_s": 0.0, "checkpoint_interval_s": 1.0}
        | {"bundle": current, "allow_unsigned": True}
    )
    watch, stream = Watch(settings), day()

    def hang_up(to: Path, event: str) -> dict[str, Any]:
        current.unlink()
        current.symlink_to(to)
        worker.signal(signal.SIGHUP)
        until(lambda: worker.events(event), 120, event, [worker])
        (told,) = worker.events(event)
        return told

    def serves() -> str:
        status, body = worker.get("/readyz")
        assert status == 200
        assert worker.get("/livez")[0] == 200
        return str(json.loads(body)["bundle"])

    def alerts_more(count: int) -> None:
        before = watch.end("alerts")
        until(lambda: watch.end("alerts") >= before + count, 120, f"{count} alerts more", [worker])

    with Worker(settings, tmp_path) as worker:
        until(lambda: worker.partitions, 120, "ready", [worker])
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
            until(lambda: worker.partitions, 120, "ready again", [worker])
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
    assert decided_by(settings, [old, new, old]) == {old, new}


def decided_by(settings: Settings, course: list[str]) -> set[str]:
    """Return the bundles that decided alerts, checked to have done so in this order, each by one configuration."""
    decided = set()
    for partition in range(settings.partitions):
        alerts = asyncio.run(alerts_on_broker(settings, partition))
        bundles = [a.provenance.bundle for a in alerts if not a.finding.typology.startswith("market_wide")]
        stretches = [bundle for bundle, _ in itertools.groupby(bundles)]
        assert ",".join(stretches) in ",".join(course)
        decided |= set(stretches)
        configs = {(a.provenance.bundle, a.provenance.config) for a in alerts if a.provenance.bundle}
        assert len(configs) == len({bundle for bundle, _ in configs})
    return decided


def test_models_are_promoted_and_rolled_back_under_load_and_nothing_is_lost_or_told_twice(
    topics: Settings, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    other, broken = alter_bundle(tmp_path / "other", *WARMER), alter_bundle(tmp_path / "broken", *MALFORMED)
    old, new = Bundle.load(DEFAULT).id, Bundle.load(other).id
    settings = topics.model_copy(
        update={
            "clock": "data",
            "ladder_down_s": 0.0,
            "checkpoint_interval_s": 1.0,
            "registry": str(tmp_path / "models"),
            "cache": tmp_path / "cache",
            "allow_unsigned": True,
        }
    )
    watch, stream = Watch(settings), day()
    where = {f"TOCSIN_{name.upper()}": str(getattr(settings, name)) for name in ("bootstrap", "prefix", "registry")}
    where["TOCSIN_ALLOW_UNSIGNED"] = "true"

    def models(*arguments: str) -> str:
        result = CliRunner(env=where | {"TOCSIN_CACHE": str(tmp_path / "own"), "COLUMNS": "200"}).invoke(
            app, ["models", *arguments]
        )
        assert result.exit_code == 0, (result.output, result.exception)
        return result.output

    def told() -> dict[str, Any]:
        status, body = worker.get("/readyz")
        assert status == 200
        found: dict[str, Any] = json.loads(body)
        return found

    def comes(event: str) -> dict[str, Any]:
        before = len(worker.events(event))
        until(lambda: len(worker.events(event)) > before, 120, event, [worker])
        return worker.events(event)[-1]

    for name, bundle in (("other", other), ("broken", broken)):
        models("add", str(bundle), "--name", name, "--author", "me")
    with Worker(settings, tmp_path) as worker:
        until(lambda: worker.partitions, 120, "ready", [worker])
        with Feed(settings, stream, rate=len(stream) / 75) as feed:
            until(lambda: watch.end("alerts") >= 3, 120, "alerts", [worker])
            assert "promoted" not in told()
            models("promote", "other", "--reason", "warmer", "--author", "me", "--force")
            swapped = [comes("bundle swapped")]
            assert (told()["bundle"], told()["promoted"]["reason"]) == (new, "warmer")
            worker.kill()
            worker.start()
            until(lambda: worker.partitions, 120, "ready again", [worker])
            assert told()["bundle"] == new
            models("promote", "broken", "--reason", "colder", "--author", "me", "--force")
            comes("model refused, the one before it serves")
            assert "temperature" in told()["promoted"]["refused"]
            models("rollback", "--reason", "it does not serve", "--author", "me")
            comes("bundle unchanged: what TOCSIN_BUNDLE names serves already")
            assert (told()["bundle"], told()["promoted"]["refused"]) == (new, "")
            models("rollback", "--reason", "too warm", "--author", "me")
            swapped.append(comes("bundle swapped"))
            assert (told()["bundle"], "promoted" in told()) == (old, False)
            sent = feed.finish()
        until(lambda: watch.acknowledged() == sent, 120, "all is read", [worker])
        listed = models("list")
        assert worker.drain() == 0
    record_property("swaps", [(one["loaded_in_s"], one["swapped_in_s"]) for one in swapped])
    account(settings, others=[other]).check(messages=len(stream), alerts=10)
    assert decided_by(settings, [old, new, old]) == {old, new}
    assert [line.split()[1:3] for line in listed.splitlines() if "retired" in line] == [
        ["other", "retired"],
        ["broken", "retired"],
    ]
