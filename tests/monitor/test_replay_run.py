"""Same input, same alerts: live and replayed, in few partitions and in many, whole and in part."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
from functools import cache
from pathlib import Path

import pytest

from agents.flow import Value
from engines.bundle import Source
from engines.tracks import Embedding
from monitor.encoding import Encode
from monitor.errors import StartupError
from monitor.proof import by_log
from monitor.recordings import Recording
from monitor.replay_format import Metric, Origin
from monitor.replay_history import by_history
from monitor.replay_logs import recorded
from monitor.replay_range import Range
from monitor.replay_run import Loaded, Watch, encoding_ahead, foresight, history, journals, marked, metrics
from monitor.replayed import Replayed
from schemas.alerts import Alert, digest
from schemas.errors import BadMessage
from schemas.topics import INSTRUMENT_INPUTS
from tests.golden.day import RECORDING
from tests.integration.daemon import stages
from tests.monitor.live import Live, crowd, live

S = 1_000_000_000
HOUR_NS = 3_600 * S


@cache
def golden() -> Recording:
    return Recording.open(RECORDING)


@cache
def whole() -> Replayed:
    return asyncio.run(by_history(golden().messages(), stages()))


@cache
def lived(partitions: int, seed: int) -> Live:
    messages = [*golden().messages(INSTRUMENT_INPUTS)]
    return live(stages(), messages, partitions, seed)


def after(alerts: list[Alert], from_ns: int, to_ns: int = 2**63) -> list[Alert]:
    return [alert for alert in alerts if from_ns <= alert.times.available_at < to_ns]


# Live and replayed.


@pytest.mark.parametrize(("partitions", "seed"), [(1, 0), (8, 1), (8, 2)])
def test_by_its_journals_a_recording_says_what_the_daemon_said(partitions: int, seed: int, tmp_path: Path) -> None:
    """Whichever topics were behind when, which no other order would say again."""
    found = lived(partitions, seed)
    recording = Recording.open(found.record(tmp_path / "r"))
    there = recording.partitions("journal")
    assert len(there) == partitions
    replayed = asyncio.run(journals(recorded(recording), there, Loaded(stages()), Range()))
    assert digest(replayed.alerts) == digest(found.alerts)
    assert len(found.alerts) >= 8
    assert found.overtaken > 10
    assert replayed.messages == golden().rows(INSTRUMENT_INPUTS)


@pytest.mark.parametrize("partitions", [1, 8])
def test_in_canonical_order_partitions_are_nothing(partitions: int, tmp_path: Path) -> None:
    recording = Recording.open(lived(partitions, 1 if partitions == 8 else 0).record(tmp_path / "r"))
    replayed = asyncio.run(history(recording, stages(), Range()))
    assert digest(replayed.alerts) == digest(whole().alerts)
    assert (replayed.messages, replayed.scores, replayed.signals) == (
        whole().messages,
        whole().scores,
        whole().signals,
    )


def test_up_to_a_moment_journals_say_what_was_said_of_the_time_before_it(tmp_path: Path) -> None:
    """Also where that came of what was late, or was known with the next clock only, or in the midst of a second."""
    found = lived(8, 2)
    recording = Recording.open(found.record(tmp_path / "r"))
    times = sorted({alert.times.available_at for alert in found.alerts})
    for to_ns in (times[0] + 1, times[3], times[-1] - times[-1] % S, times[-1] + 1):
        wanted = Range(to_ns=to_ns)
        replayed = asyncio.run(journals(recorded(recording), recording.partitions("journal"), Loaded(stages()), wanted))
        assert digest(replayed.alerts) == digest(after(found.alerts, 0, to_ns))
        assert replayed.clock_ns < to_ns


def test_of_the_market_too_by_its_own_journal(tmp_path: Path) -> None:
    found = live(stages(), crowd(16), 4, seed=3)
    rung = [alert for alert in found.alerts if alert.subject.instrument == "market"]
    assert [alert.activity for alert in rung] == ["create", "update"]
    recording = Recording.open(found.record(tmp_path / "r"))
    replayed = asyncio.run(journals(recorded(recording), recording.partitions("journal"), Loaded(stages()), Range()))
    assert digest(replayed.alerts) == digest(found.alerts)
    assert replayed.messages == len(crowd(16))


def test_a_journal_whose_messages_are_gone_is_told_with_a_way_on(tmp_path: Path) -> None:
    found = lived(1, 0)
    recording = Recording.open(found.record(tmp_path / "r", without=["news"]))
    with pytest.raises(StartupError, match=r"Partition 0 of the instrument stage cannot be replayed .* by --history"):
        asyncio.run(journals(recorded(recording), [0], Loaded(stages()), Range()))


@pytest.mark.parametrize(("kept", "lacks"), [(slice(1, None), "0 to 0"), (slice(0, None, 2), "1 to 1")])
def test_a_journal_that_has_lost_entries_is_told_and_not_taken_for_a_quiet_one(
    kept: slice, lacks: str, tmp_path: Path
) -> None:
    """Without its claim all that follows in it would be void, and nothing would have rung."""
    found = lived(1, 0)
    topics = {place: held[kept] if place[0] == "journal" else held for place, held in found.topics.items()}
    recording = Recording.open(dataclasses.replace(found, topics=topics).record(tmp_path / "r"))
    with pytest.raises(StartupError, match=rf"journal lacks its offsets {lacks}\): keep"):
        asyncio.run(journals(recorded(recording), [0], Loaded(stages()), Range()))
    with pytest.raises(StartupError, match=rf"cannot be rebuilt .*journal lacks its offsets {lacks}\): keep"):
        asyncio.run(by_log(recorded(recording), Loaded(stages()), found.alerts[0]))


# In part.


@pytest.mark.parametrize("instrument", ["JUNIPER.XTOC", "CINDER.XTOC", "market"])
def test_an_instrument_alone_says_what_it_says_among_others(instrument: str, tmp_path: Path) -> None:
    own = [alert for alert in whole().alerts if alert.subject.instrument == instrument]
    assert own
    only = Range(instruments=frozenset({instrument}))
    replayed = asyncio.run(history(golden(), stages(), only))
    assert digest(replayed.alerts) == digest(own)
    assert replayed.clock_ns == whole().clock_ns
    assert replayed.messages < whole().messages / 2

    found = lived(8, 1)
    recording = Recording.open(found.record(tmp_path / "r"))
    mine = [alert for alert in found.alerts if alert.subject.instrument == instrument]
    replayed = asyncio.run(journals(recorded(recording), recording.partitions("journal"), Loaded(stages()), only))
    assert digest(replayed.alerts) == digest(mine)


def test_what_is_said_up_to_a_moment_does_not_depend_on_what_is_replayed_after_it() -> None:
    """Wherever it falls, in a frame as between them."""
    times = sorted({alert.times.available_at for alert in whole().alerts})
    for to_ns in (times[2], times[2] + 1, times[-1] + 1):
        replayed = asyncio.run(history(golden(), stages(), Range(to_ns=to_ns)))
        assert digest(replayed.alerts) == digest(after(whole().alerts, 0, to_ns))
        assert replayed.last_ns < to_ns


def test_with_all_before_it_as_warm_up_a_stretch_says_what_it_says_in_the_whole() -> None:
    times = sorted({alert.times.available_at for alert in whole().alerts})
    wanted = Range(from_ns=times[1] + 1, to_ns=times[-2], warm_up_ns=24 * HOUR_NS)
    replayed = asyncio.run(history(golden(), stages(), wanted))
    alerts = marked(replayed.alerts, wanted.from_ns)
    tested = [alert for alert in alerts if not alert.quality.warm_up]
    assert digest(tested) == digest(after(whole().alerts, wanted.from_ns, wanted.to_ns))
    early = [alert for alert in alerts if alert.quality.warm_up]
    assert {alert.alert_id for alert in early} == {a.alert_id for a in after(whole().alerts, 0, wanted.from_ns)}
    assert early

    told = Watch().told(
        Loaded(stages()),
        wanted,
        replayed=_with(replayed, alerts),
        source="history",
        origin=Origin(path="day"),
        moments=7,
        stamps=["x"],
    )
    assert told.digest == digest(tested)
    assert (told.counts.alerts, told.counts.warm_up_alerts) == (len(tested), len(early))
    assert (told.from_ns, told.to_ns) == (wanted.from_ns, wanted.to_ns)
    assert told.from_ns - told.warm_up_ns == golden().first_ns


def _with(replayed: Replayed, alerts: list[Alert]) -> Replayed:
    replayed.alerts = alerts
    return replayed


def test_offsets_narrow_a_topic_and_leave_the_others(tmp_path: Path) -> None:
    rows = golden().rows(INSTRUMENT_INPUTS)
    news = golden().rows(["news"])
    wanted = Range(offsets={("news", -1): (0, 2)})
    assert asyncio.run(history(golden(), stages(), wanted)).messages == rows - news + 2


def test_measures_are_named_as_the_daemons() -> None:
    loaded = Loaded(stages())
    loaded.set_aside.update({"late": 3})
    told = Watch().told(loaded, Range(), whole(), source="history", origin=Origin(path="day"), moments=0, stamps=[])
    found = {(metric.name, metric.labels): metric.value for metric in metrics(loaded, whole(), told)}
    assert found["tocsin_messages_total", 'topic="frames"'] == golden().rows(["frames"])
    assert found["tocsin_ticks_total", ""] == whole().ticks > 10_000
    assert found["tocsin_rows_set_aside_total", 'reason="late"'] == 3
    alerts = [value for (name, _), value in found.items() if name == "tocsin_alerts_total"]
    assert sum(alerts) == len(whole().alerts)
    assert Metric(name="tocsin_signals_total", value=whole().signals) in list(metrics(loaded, whole(), told))


# What a bundle knows.


def test_a_bundle_that_was_trained_on_what_is_tested_is_refused_unless_that_is_wanted() -> None:
    def source(stage: str, window: str) -> Source:
        return Source(name="s", stage=stage, origin="", licence="", may_train_what_ships=True, window=window)

    lineage = [source("pretraining", "unknown"), source("training", "2025-01-01 to 2025-03-03")]
    loaded = Loaded(dataclasses.replace(stages(), lineage=lineage))
    first_ns, last_ns = golden().first_ns, golden().last_ns  # of 2025-03-03
    with pytest.raises(
        StartupError,
        match=r"training on s spans 2025-01-01 to 2025-03-03, which reaches into .* `tocsin train bundle --until DATE`",
    ):
        foresight(loaded, first_ns, last_ns, allow=False)
    stamps = foresight(loaded, first_ns, last_ns, allow=True)
    assert [stamp.partition(": ")[2] for stamp in stamps] == [
        "training on s spans 2025-01-01 to 2025-03-03, which reaches into or past the tested 2025-03-03 to 2025-03-03.",
        "the window of its pretraining on s is unknown.",
    ]
    later = first_ns + 24 * HOUR_NS
    assert foresight(loaded, later, later + 1, allow=False) == stamps[1:]


def test_labels_whose_examples_have_no_time_are_said() -> None:
    loaded = Loaded(dataclasses.replace(stages(), lineage=[], labels=["cyber"]))
    assert foresight(loaded, 1, 2, allow=False) == ["When the examples of the labels cyber are from is unknown."]


def test_texts_encoded_ahead_in_threads_give_what_they_give_in_turn() -> None:
    threads: set[str] = set()
    made = stages()

    def told(encode: Encode) -> Encode:
        def within(record: Value) -> Embedding:
            threads.add(threading.current_thread().name.partition("_")[0])
            return encode(record)

        return within

    encoders = {modality: told(encode) for modality, encode in made.instrument.encoders.items()}
    watched = dataclasses.replace(made, instrument=dataclasses.replace(made.instrument, encoders=encoders))
    with encoding_ahead() as pool:
        found = asyncio.run(history(golden(), watched, Range(), pool=pool))
    assert threads == {"encode"}
    assert digest(found.alerts) == digest(whole().alerts)
    assert (found.scores, found.signals) == (whole().scores, whole().signals)


def test_what_threads_cannot_encode_is_a_dead_letter() -> None:
    made = stages()

    def torn(_: Value) -> Embedding:
        raise BadMessage("bad_media", "torn")

    broken = dataclasses.replace(made.instrument, encoders={**made.instrument.encoders, "chart": torn})
    with encoding_ahead() as pool:
        found = asyncio.run(history(golden(), dataclasses.replace(made, instrument=broken), Range(), pool=pool))
    assert found.refusals == {("charts", "bad_media"): golden().rows(["charts"])}
