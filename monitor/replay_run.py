"""One replay from a source to its result: what is applied, what the result is called, what must be said with it."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from engines.lineage import knows
from monitor import control
from monitor.errors import StartupError
from monitor.recording_format import code_version
from monitor.recordings import Recording
from monitor.replay_format import Counts, Metric, Origin, Told
from monitor.replay_history import Course, accounts_of, by_history
from monitor.replay_journal import by_journal
from monitor.replay_logs import Log
from monitor.replay_range import Range, span_of
from monitor.replayed import Beat, Replayed, Sink, breathe
from monitor.rules import rules_of
from monitor.sequencer import JournalMismatchError
from monitor.settings import Settings
from monitor.stage import Stages, load_stages
from schemas.alerts import Alert, digest
from schemas.journal import Rules
from schemas.topics import MARKET

#: Texts, charts and sounds under way at a time: enough for batches of texts of one length to fill.
ENCODERS = 24


@dataclass(slots=True)
class Loaded:
    """The stages of each bundle, the first one's first; and what they set aside and left out, counted."""

    stages: Stages
    others: list[Stages] = field(default_factory=list)
    set_aside: Counter[str] = field(default_factory=Counter)
    shed: Counter[str] = field(default_factory=Counter)


def brought(settings: Settings, recording: Recording | None) -> Settings:
    """Return settings that name the files which a recording brings, where they name none."""
    if recording is None:
        return settings
    files = {setting: file for setting, file in recording.brought.items() if getattr(settings, setting) is None}
    return settings.model_copy(update=files)


async def published(settings: Settings, recording: Recording | None) -> list[Rules]:
    """Return the rules that a recording's control topic holds, or (None) the broker's; none where settings name some.

    What workers refused is not among them.
    """
    if settings.rules is not None:
        return []
    there = control.recorded(recording) if recording is not None else await control.read(settings, required=False)
    return [one.rules for one, reason in control.judged(there) if not reason]


def load(settings: Settings, others: Sequence[Path] = (), rules: Sequence[Rules] = ()) -> Loaded:
    """Return the stages for a replay, and those of ``others``, bundles that decided a part of it.

    Parameters
    ----------
    rules
        What was published: in effect from their times on where history is replayed; a journal says itself what was.

    Raises
    ------
    StartupError
        What stages are made of cannot be read, or rules that were published cannot be followed here.
    """
    set_aside: Counter[str] = Counter()
    shed: Counter[str] = Counter()

    def skipped(modality: str) -> None:
        shed[modality] += 1

    def stages(bundle: Path | None, before: Stages | None) -> Stages:
        of_bundle = settings.model_copy(update={"bundle": bundle})
        return load_stages(of_bundle, set_aside.update, skipped=skipped, mode="replay", before=before)

    first = stages(settings.bundle, None)
    for one in rules:
        try:
            for stage in first:
                stage.under(one)
        except ValueError as error:
            raise StartupError(
                f"Rules of version {rules_of(one).version}, which were published, cannot be followed here ({error}):"
                " name what they need as the daemon has it, or other rules by --rules."
            ) from error
        first.rulebook.add(one)
    return Loaded(first, [stages(other, first) for other in others], set_aside, shed)


@contextmanager
def encoding_ahead() -> Iterator[Executor]:
    """Yield threads in which texts, charts and sound are encoded while ticks are applied."""
    # They would wait 5 ms for the interpreter each time while ticks are being applied.
    before_s = sys.getswitchinterval()
    sys.setswitchinterval(0.0005)
    pool = ThreadPoolExecutor(ENCODERS, "encode")
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
        sys.setswitchinterval(before_s)


def foresight(loaded: Loaded, from_ns: int, to_ns: int, *, allow: bool) -> list[str]:
    """Return what must be said of what the bundles may know of a tested range, a sentence each.

    Raises
    ------
    StartupError
        One was trained on times in the range or after it; unless ``allow``, where that is among the sentences.
    """
    stamps = []
    for stages in (loaded.stages, *loaded.others):
        found = knows(stages.lineage, from_ns, to_ns)
        bundle = f"bundle {stages.about['bundle']}"
        if found.overlaps and not allow:
            raise StartupError(
                f"{bundle[0].upper()}{bundle[1:]} may know what it is tested on: {'; '.join(found.overlaps)}. Train one"
                " with `tocsin train bundle --until DATE` and name it by --bundle, test later times, or say"
                " --allow-overlap: the result is stamped then."
            )
        stamps += [f"Of {bundle}: {sentence}." for sentence in (*found.overlaps, *found.unknown)]
    if loaded.stages.labels:
        stamps.append(f"When the examples of the labels {', '.join(loaded.stages.labels)} are from is unknown.")
    return stamps


async def history(
    recording: Recording,
    stages: Stages,
    wanted: Range,
    *,
    sink: Sink | None = None,
    beat: Beat = breathe,
    level: int = 0,
    pool: Executor | None = None,
) -> Replayed:
    """Replay a range of a recording in canonical order.

    Time goes on to the range's end, or the recording's, whatever is left out: what the clock decides stays the same.
    The market stage hears all instruments or nothing: what it says of some would be said of no market. Neither does the
    account stage hear anything where some are asked for: transfers are of no instrument.
    """
    topics = stages.instrument.topics
    messages = recording.messages(topics, wanted.start_ns or None, wanted.read_ns, wanted.keys)
    until_ns = wanted.until_ns(span_of(recording, topics)[1])
    replayed = await by_history(
        wanted.within_offsets(messages) if wanted.offsets else messages,
        stages,
        Course(end_ns=wanted.to_ns, until_ns=until_ns, beat=beat, level=level, pool=pool),
        sink=sink,
        market=not wanted.instruments,
    )
    if not wanted.instruments:
        transfers = recording.messages(stages.account.topics, wanted.start_ns or None, wanted.to_ns or None)
        transfers = wanted.within_offsets(transfers) if wanted.offsets else transfers
        await accounts_of(transfers, replayed, stages, end_ns=wanted.to_ns, level=level)
    return replayed


async def journals(
    log: Log,
    partitions: Sequence[int],
    loaded: Loaded,
    wanted: Range,
    *,
    sink: Sink | None = None,
    progress: Callable[[int], None] | None = None,
    beat: Beat = breathe,
    market: bool = True,
) -> Replayed:
    """Replay what the journals name, partition by partition, then that of accounts, and, if asked for, the market's.

    A journal is applied from its beginning, whatever the range: what its state was at another moment nobody wrote down.

    Raises
    ------
    StartupError
        What a journal names is not there any more, or another bundle decided it.
    """
    whole = Replayed(sink)
    places: list[tuple[str, int]] = [("instrument", partition) for partition in partitions]
    if not wanted.instruments:
        places += [("account", 0), *([(MARKET, 0)] if market else [])]
    for name, partition in places:
        of = [getattr(one, name) for one in (loaded.stages, *loaded.others)]
        try:
            found = await by_journal(
                log,
                of[0],
                partition,
                others=of[1:],
                sink=sink,
                progress=progress if name == "instrument" else None,
                wanted=wanted.wants if wanted.instruments else None,
                until_ns=wanted.to_ns,
                beat=beat,
            )
        except JournalMismatchError as error:
            raise StartupError(
                f"Partition {partition} of the {name} stage cannot be replayed from its beginning, for retention"
                f" has deleted what it was made of ({error}): keep the inputs for longer, or replay by --history."
            ) from error
        whole.add(Replayed(alerts=found.alerts, clock_ns=found.clock_ns) if name == MARKET else found)
    return whole


def marked(alerts: Sequence[Alert], from_ns: int) -> list[Alert]:
    """Return alerts, those that were available before ``from_ns`` marked as of the warm-up."""
    return [warm_up(alert) if alert.times.available_at < from_ns else alert for alert in alerts]


def warm_up(alert: Alert) -> Alert:
    """Mark an alert as of the warm-up."""
    return msgspec.structs.replace(alert, quality=msgspec.structs.replace(alert.quality, warm_up=True))


@dataclass(slots=True)
class Watch:
    """Measures a replay from its making to `told`."""

    began_s: float = field(default_factory=time.monotonic)
    cpu_s: float = field(default_factory=time.process_time)

    def told(
        self,
        loaded: Loaded,
        wanted: Range,
        replayed: Replayed,
        *,
        source: str,
        origin: Origin,
        moments: int,
        stamps: Sequence[str],
        level: int = 0,
    ) -> Told:
        """Return what a replay at a level of the ladder says of itself; ``replayed`` has its warm-up alerts marked."""
        about = loaded.stages.about
        tested = [alert for alert in replayed.alerts if not alert.quality.warm_up]
        from_ns = wanted.from_ns or replayed.first_ns
        return Told(
            code_version=code_version(),
            source=source,
            recording=origin,
            from_ns=from_ns,
            to_ns=wanted.to_ns or max(replayed.last_ns, replayed.clock_ns) + 1,
            warm_up_ns=max(0, from_ns - replayed.first_ns) if replayed.first_ns else 0,
            until_ns=replayed.clock_ns,
            instruments=sorted(wanted.instruments),
            offsets=wanted.offsets_named(),
            bundle=about["bundle"],
            config=about["config"],
            digest=digest(tested),
            counts=Counts(
                messages=dict(sorted(replayed.by_topic.items())),
                ticks=replayed.ticks,
                scores=replayed.scores,
                signals=replayed.signals,
                drift=len(replayed.drift),
                alerts=len(tested),
                warm_up_alerts=len(replayed.alerts) - len(tested),
                dead_letters=replayed.refusals.total(),
                moments=moments,
            ),
            seconds=time.monotonic() - self.began_s,
            cpu_s=time.process_time() - self.cpu_s + replayed.elsewhere_s,
            stamps=list(stamps),
            level=level,
        )


def metrics(loaded: Loaded, replayed: Replayed, told: Told) -> Iterator[Metric]:
    """Yield the measures of a replay, named as the daemon's are where it has the same."""
    for topic, count in told.counts.messages.items():
        yield Metric(name="tocsin_messages_total", labels=f'topic="{topic}"', value=count)
    yield Metric(name="tocsin_ticks_total", value=told.counts.ticks)
    kinds = Counter((a.finding.typology, a.finding.severity, a.activity) for a in replayed.alerts)
    for (typology, severity, activity), count in sorted(kinds.items()):
        labels = f'typology="{typology}",severity="{severity}",activity="{activity}"'
        yield Metric(name="tocsin_alerts_total", labels=labels, value=count)
    yield Metric(name="tocsin_scores_total", value=told.counts.scores)
    yield Metric(name="tocsin_signals_total", value=told.counts.signals)
    drift = Counter((d.kind, d.stream, d.scope, d.asset_class) for d in replayed.drift)
    for (kind, stream, scope, asset_class), count in sorted(drift.items()):
        labels = f'kind="{kind}",stream="{stream}",scope="{scope}",asset_class="{asset_class}"'
        yield Metric(name="tocsin_drift_total", labels=labels, value=count)
    for (topic, reason), count in sorted(replayed.refusals.items()):
        yield Metric(name="tocsin_dead_letters_total", labels=f'topic="{topic}",reason="{reason}"', value=count)
    for reason, count in sorted(loaded.set_aside.items()):
        yield Metric(name="tocsin_rows_set_aside_total", labels=f'reason="{reason}"', value=count)
    for modality, count in sorted(loaded.shed.items()):
        yield Metric(name="tocsin_shed_total", labels=f'modality="{modality}"', value=count)
    yield Metric(name="tocsin_replay_seconds", value=told.seconds)
    yield Metric(name="tocsin_replay_cpu_seconds", value=told.cpu_s)
