"""Replays of what a daemon left on a real Kafka: by journals and in canonical order, from the broker and recorded."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner, Result

from engines.backtest.results import decode
from monitor.capture import capture
from monitor.cli import app
from monitor.folders import Folder
from monitor.outbox import rfc3339
from monitor.replay_history import by_history
from monitor.replay_output import Replay
from monitor.settings import Settings
from schemas.alerts import Alert, AlertEvent, digest
from tests.integration.daemon import (
    CANONICAL,
    Feed,
    Watch,
    Worker,
    account,
    before_the_end,
    day,
    stages,
    undisturbed,
    until,
)
from tests.integration.kafka import messages_of

pytestmark = [pytest.mark.integration, pytest.mark.slow]


def test_a_day_that_was_live_is_replayed_from_wherever_it_lies(topics: Settings, tmp_path: Path) -> None:
    settings = topics.model_copy(update=CANONICAL)
    watch = Watch(settings)
    with Feed(settings, day()) as feed:
        feed.finish()
    with Worker(settings, tmp_path) as worker:
        until(lambda: watch.acknowledged() == len(day()), 300, "all is read", [worker])
        assert worker.drain() == 0
    live = account(settings).alerts

    def call(*words: str, code: int = 0) -> Result:
        at = ["--bootstrap", settings.bootstrap, "--prefix", settings.prefix]
        result = CliRunner().invoke(app, ["replay", *at, *words])
        assert result.exit_code == code, result.output
        return result

    # By the journals, on the broker and recorded.
    on_broker = call("--out", str(tmp_path / "one"))
    assert "MATCH: the alerts on the broker are these" in on_broker.stdout
    asyncio.run(capture(settings, Folder(tmp_path / "recording"), until="now"))
    recorded = call(str(tmp_path / "recording"), "--out", str(tmp_path / "two"))
    assert "MATCH: the alerts in the recording are these" in recorded.stdout
    folders = [Replay.open(tmp_path / name) for name in ("one", "two")]
    assert {folder.manifest.digest for folder in folders} == {digest(live)}
    assert {folder.manifest.source for folder in folders} == {"journal"}

    # Judged, and judged again without words, which leaves the market to be told in canonical order.
    known = next(alert for alert in live if alert.finding.typology == "pump_and_dump@1")
    start_ns, end_ns = known.times.event_start, known.times.event_end
    events = tmp_path / "events.csv"
    events.write_text(
        "event_id,typology,start_ns,onset_ns,end_ns,instruments\n"
        f"pump,pump_and_dump,{start_ns},{start_ns},{end_ns},{known.subject.instrument}\n"
    )
    judged = ["backtest", str(tmp_path / "recording"), "--labels", str(events), "--draws", "100", "--without", "text"]
    result = CliRunner().invoke(app, [*judged, "--out", str(tmp_path / "judged")])
    assert result.exit_code == 0, result.output
    found = decode((tmp_path / "judged" / "backtest.json").read_bytes())
    assert found.tested.alert_digest == digest(live)
    assert [catch.label.event_id for catch in found.catches] == ["pump"]
    assert [one.modality for one in found.ablations if one.how == "rerun"] == ["text"]
    assert not any("not exact" in note for note in found.notes)

    # In canonical order, which knows nothing of partitions.
    whole = asyncio.run(by_history(day(), stages()))
    for words in ([str(tmp_path / "recording"), "--history"], ["--history"]):
        assert call(*words).stdout.splitlines()[-1] == f"digest {digest(whole.alerts)}"
    assert digest(before_the_end(live)) == digest(before_the_end(undisturbed().alerts))

    # A stretch of it, to topics of its own.
    mine = sorted(whole.alerts, key=lambda a: a.times.available_at)
    from_ns, to_ns = mine[3].times.available_at, mine[-3].times.available_at
    own = settings.model_copy(update={"prefix": f"{settings.prefix}again."})
    words = ["--history", "--from", rfc3339(from_ns // 10**6 * 10**6), "--to", rfc3339(to_ns // 10**6 * 10**6)]
    told = call(*words, "--to-prefix", own.prefix).stdout
    sent = asyncio.run(messages_of(own, "alerts"))
    events = [msgspec.json.decode(record.value, type=AlertEvent) for record in sent]
    assert all(event.data.provenance.mode == "replay" for event in events)
    tested = [event.data for event in events if not event.data.quality.warm_up]
    assert f"digest {digest(tested)}" in told
    assert {alert.alert_id for alert in mine[4:-4]} <= {alert.alert_id for alert in tested}
    assert any(event.data.quality.warm_up for event in events)
    assert asyncio.run(messages_of(own, "scores"))
    assert "is the prefix of the live topics" in call(*words, "--to-prefix", settings.prefix, code=2).stderr
    history = [str(tmp_path / "recording"), "--history"]
    daemons = call(*history, "--to-prefix", settings.prefix, "--prefix", "another.", code=2)
    assert f"is that of a daemon, which keeps {settings.prefix}journal" in daemons.stderr

    # One alert.
    one: Alert = next(alert for alert in live if alert.finding.typology == "pump_and_dump@1")
    for words in ([], [str(tmp_path / "recording")], [str(tmp_path / "two")]):
        assert call(*words, "--alert", one.alert_id).stdout.startswith("MATCH: pump_and_dump@1 create of ")
