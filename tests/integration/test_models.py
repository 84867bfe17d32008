"""A challenger runs in the champion's shadow, crashes, is compared, refused by the gate, and promoted by force."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from aiokafka import AIOKafkaProducer
from typer.testing import CliRunner

from engines.bundle import DEFAULT, Bundle
from engines.signatures import make_key
from monitor import kafka
from monitor.cli import app
from monitor.recordings import Message
from monitor.replay_logs import alerts_on_broker
from monitor.settings import Settings
from monitor.shadow import rang
from schemas.alerts import Alert, AlertEvent, DriftKind
from schemas.records import Drift
from tests.engines.bundles import alter_bundle
from tests.golden.examples import ALERT
from tests.integration.daemon import Feed, Watch, Worker, account, day, until

pytestmark = pytest.mark.slow
WARMER = ("text.json", b'"temperature": 1.9585', b'"temperature": 2.5')


def test_nothing_is_learnt_where_nothing_drifted(
    embedded: str, settings_of: Callable[..., Settings], tmp_path: Path
) -> None:
    pytest.importorskip("torch", reason="training needs torch: install the extra `train`")
    settings = settings_of(embedded)
    where = {
        "TOCSIN_BOOTSTRAP": embedded,
        "TOCSIN_PREFIX": settings.prefix,
        "TOCSIN_REGISTRY": str(tmp_path / "models"),
    }
    retrain = ["retrain", "order_flow", str(tmp_path), "--if-drifted", "2020-01-01", "--at-least", "2"]

    def called() -> tuple[int, str]:
        result = CliRunner(env=where | {"COLUMNS": "200"}).invoke(app, retrain)
        return result.exit_code, " ".join(result.output.split())

    def drift(subject: str, kind: DriftKind) -> Message:
        at_ns = 1_700_000_000 * 10**9
        told = Drift(
            ts_event=at_ns, ts_available=at_ns, subject=subject, drift_id=subject, kind=kind, stream="", since=at_ns
        )
        return Message("drift", subject.encode(), msgspec.json.encode(told), at_ns, at_ns, at_ns // 10**6)

    with Feed(settings, [drift("A.XTOC", "market"), drift("B.XTOC", "unit_change")]) as feed:
        feed.finish()
    assert called() == (0, "1 instruments drifted since 2020-01-01, fewer than 2: nothing is learnt.")
    with Feed(settings, [drift("C.XTOC", "market")]) as feed:
        feed.finish()
    code, told = called()
    assert (code, "brings no labels" in told) == (2, True), told  # it goes on, and finds nothing to learn from


def test_of_what_rang_no_more_is_held_than_the_time_asks_for(
    embedded: str, settings_of: Callable[..., Settings]
) -> None:
    settings = settings_of(embedded)
    at = ALERT.times.available_at

    def event(episode: str, revision: int, available_at: int) -> AlertEvent:
        times = msgspec.structs.replace(ALERT.times, available_at=available_at)
        told = msgspec.structs.replace(ALERT, episode_id=episode, revision=revision, times=times)
        return AlertEvent(
            id=f"{episode}{revision}", source="s", type="io.tocsin.alert.create", subject="A", time="t", data=told
        )

    told = [event("before", 0, at - 1), event("before", 1, at + 1), event("within", 0, at), event("after", 0, at + 9)]

    async def sent() -> list[Alert]:
        await kafka.create_topics(settings, ("alerts",))
        async with AIOKafkaProducer(bootstrap_servers=settings.bootstrap) as producer:
            for one in told:
                topic = kafka.full_name(settings.prefix, "alerts")
                await producer.send_and_wait(topic, msgspec.json.encode(one), key=b"e", partition=0)
        return await rang(settings, at, at + 9)

    (kept,) = asyncio.run(sent())
    assert (kept.episode_id, kept.evidence.inputs, kept.explanation.rules) == ("within", [], [])
    assert (kept.finding, kept.modalities) == (ALERT.finding, ALERT.modalities)
    assert ALERT.evidence.inputs


def test_a_challenger_in_shadow_touches_nothing_of_the_champions_and_stands_before_the_gate(
    embedded: str, settings_of: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = settings_of(
        embedded,
        clock="data",
        checkpoint_interval_s=1.0,
        ladder_down_s=0.0,
        registry=str(tmp_path / "models"),
        cache=tmp_path / "cache",
        bundle_trust=make_key(tmp_path / "desk.key")[0],
    )
    shadow = settings.model_copy(update={"shadow": "warmer"})
    other = alter_bundle(tmp_path / "other", *WARMER)
    part = day()[:4_500]

    def called(*arguments: str) -> tuple[int, str]:
        names = ("bootstrap", "prefix", "registry", "cache", "bundle_trust")
        where = {f"TOCSIN_{name.upper()}": str(getattr(settings, name)) for name in names}
        result = CliRunner(env=where | {"COLUMNS": "220"}).invoke(app, ["models", *arguments])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result.exit_code, result.output

    assert called("rollback", "--reason", "none")[0] == 2
    assert called("add", str(other), "--name", "warmer", "--author", "me", "--reason", "a test")[0] == 0
    code, told = called("promote", "warmer", "--reason", "at once", "--author", "me", "--force")
    assert (code, "bears no signature" in told) == (2, True), told
    assert called("sign", "warmer", "--key", str(tmp_path / "desk.key"))[0] == 0
    code, told = called("promote", "warmer", "--reason", "at once", "--author", "me")
    assert (code, "✗ shadow: " in told, "unless you say --force" in told) == (2, True, True), told

    watch, seen = Watch(settings), Watch(settings.model_copy(update={"group": shadow.own_group}))
    with Worker(settings, tmp_path) as champion, Worker(shadow, tmp_path, "two") as challenger:
        with Feed(settings, part) as feed:
            until(lambda: seen.acknowledged() > 500, 90, "the challenger works", [challenger])
            challenger.kill()
            feed.finish()
        until(lambda: watch.acknowledged() == len(part), 150, "the champion has read all", [champion])
        challenger.start()
        until(lambda: seen.acknowledged() == len(part), 150, "the challenger has read all", [challenger])
        body = json.loads(challenger.get("/readyz")[1])
        assert (body["shadow"], body["bundle"]) == ("warmer", Bundle.load(other).id)
        code, told = called("promote", "warmer", "--reason", "a test", "--author", "me", "--force")
        assert (code, "✗ labels: 0 harmful labels, expected 10" in told) == (0, True), told
        until(lambda: champion.events("bundle swapped"), 120, "the champion follows", [champion])
        assert called("rollback", "--reason", "enough", "--author", "me")[0] == 0
        until(lambda: len(champion.events("bundle swapped")) == 2, 120, "and back", [champion])
        assert champion.drain() == challenger.drain() == 0
    account(settings, others=[other]).check(messages=len(part), alerts=3)

    theirs = settings.model_copy(update={"prefix": shadow.own_prefix})
    for topics, bundle in ((settings, Bundle.load(DEFAULT).id), (theirs, Bundle.load(other).id)):
        alerts = [a for p in range(settings.partitions) for a in asyncio.run(alerts_on_broker(topics, p))]
        assert {a.provenance.bundle for a in alerts if a.provenance.bundle} == {bundle}
        assert len({a.alert_id for a in alerts}) == len(alerts)

    code, told = called("compare", "warmer", "--json")
    found = json.loads(told)
    assert code == 1
    assert found["shadowed"]["challenger"]["bundles"] == [Bundle.load(other).id]
    assert found["shadowed"]["champion"]["alarms"] > 0
    assert {check["name"] for check in found["gate"] if not check["passed"]} >= {"labels", "latency p99"}
    code, told = called("show", "warmer")
    assert (code, "retired since" in told, "promotion to warmer, forced by me: a test" in told) == (0, True, True)
    assert "✗ labels: 0 harmful labels, expected 10" in told
    code, told = called("list", "--json")
    (row,) = (json.loads(line) for line in told.splitlines())
    assert (row["name"], row["role"], row["reason"]) == ("warmer", "retired", "enough")
    code, told = called("review", "--promote")
    assert (code, "No challenger passes: the champion stays." in told) == (0, True)
