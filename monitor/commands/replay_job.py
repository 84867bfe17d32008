"""A replay that was asked for, from its source to what is printed."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from monitor import kafka, shards
from monitor.agreement import TOLERANCE, alike
from monitor.capture import capture
from monitor.errors import StartupError
from monitor.folders import Folder
from monitor.proof import of_recording, on_broker
from monitor.recordings import Damaged, Recording
from monitor.replay_format import Origin, Told
from monitor.replay_logs import Log, broker, recorded
from monitor.replay_range import Range, require_some, span_of
from monitor.replay_run import (
    Loaded,
    Watch,
    brought,
    encoding_ahead,
    foresight,
    history,
    journals,
    load,
    marked,
    metrics,
    published,
)
from monitor.replay_writer import ReplayWriter
from monitor.replayed import Beat, Replayed, Sink
from monitor.republish import Republisher, republishing
from monitor.set_aside import sentences
from monitor.settings import Settings
from schemas.alerts import digest
from schemas.records import DeadLetter
from schemas.topics import HISTORY_INPUTS


@contextmanager
def opened(
    settings: Settings, source: str | None, by_history: bool, wanted: Range, damaged: Damaged
) -> Iterator[Recording | None]:
    """Yield the recording: the one that is named, or of the broker's topics, where they are history; else None."""
    if source is not None:
        recording = Recording.open(source, damaged=damaged)
        require_some(recording, wanted, source)
        yield recording
    elif by_history:
        with captured(settings, wanted) as recording:
            yield recording
    else:
        yield None


@contextmanager
def captured(settings: Settings, wanted: Range) -> Iterator[Recording]:
    """Yield a recording of what the broker's topics hold of a range; it is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="tocsin-") as folder, progress("reading the broker's topics") as show:
        path = Path(folder) / "history"
        asyncio.run(
            capture(
                settings,
                Folder(path),
                topics=HISTORY_INPUTS,
                # Kafka's timestamp of a message is at most 5 s before its ts_available; it may be long after it.
                begin=max(0, wanted.start_ns - 5_000_000_000),
                until="now",
                accept_gaps=True,
                on_progress=lambda now: show(now.messages, now.messages + now.lag),
            )
        )
        recording = Recording.open(path, damaged="skip")
        require_some(recording, wanted, f"The broker at {settings.bootstrap}")
        yield recording


@contextmanager
def progress(doing: str) -> Iterator[Callable[[float, float | None], None]]:
    """Show a bar on stderr; what is yielded takes how far it has come, and of how much."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(doing, total=None)
        yield lambda done, of: bar.update(task, completed=done, total=of)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A replay from what was asked for to what is printed; ``recording`` None where the journals are the broker's."""

    settings: Settings
    source: str
    recording: Recording | None
    by_journals: bool
    others: Sequence[Path]
    wanted: Range
    speed: float
    allow_overlap: bool
    out: Path | None
    to_prefix: str | None
    level: int
    #: How many, and the address of their cluster; None: this process does all.
    shards: tuple[int, str] | None

    async def run(self) -> bool:
        """Replay, write, print; False where the alerts that are there are others."""
        watch = Watch()
        rules = await published(self.settings, self.recording if self.source else None)
        loaded = load(brought(self.settings, self.recording), self.others, rules)
        stamps = self._stamps(loaded)
        async with AsyncExitStack() as stack:
            sinks: list[Sink] = []
            writer = None
            if self.out is not None:
                writer = ReplayWriter(self.out, specs=loaded.stages.specs, canonical=not self.by_journals)
                sinks.append(stack.enter_context(writer))
            republisher = None
            if self.to_prefix is not None:
                republisher = await stack.enter_async_context(
                    republishing(self.settings, self.to_prefix, self.wanted.from_ns)
                )
                sinks.append(republisher)
            beat = paced(self.speed, self.wanted.from_ns, republisher)
            if self.shards is not None:
                replayed = await asyncio.to_thread(self._sharded, loaded, writer)
            else:
                replayed = await self._replayed(loaded, _joined(sinks), beat)
            if not (replayed.messages or self.by_journals):
                raise StartupError(
                    f"{self.source or 'The broker'} holds no message of what --instruments, --offsets, --from and --to"
                    " name: see that instruments are named as its messages' keys are, such as ACME.XTOC."
                )
            replayed.alerts = marked(replayed.alerts, self.wanted.from_ns)
            told = watch.told(
                loaded,
                self.wanted,
                replayed,
                source="journal" if self.by_journals else "history",
                origin=self._origin(),
                moments=writer.moments if writer is not None else 0,
                stamps=stamps,
                level=self.level,
            )
            if writer is not None:
                writer.finish(replayed.alerts, told, metrics(loaded, replayed, told))
        _report(replayed, told, loaded.set_aside)
        return await self._compared(replayed) if self.by_journals else True

    def _origin(self) -> Origin:
        if self.recording is None or not self.source:
            return Origin(path=self.settings.bootstrap)
        folder = Folder(self.source).local
        return Origin(
            path=str(folder.resolve()) if folder else self.source,
            digest=self.recording.digest,
            damaged=bool(self.recording.damage),
        )

    def _stamps(self, loaded: Loaded) -> list[str]:
        stamps = []
        wanted, recording = self.wanted, self.recording
        if recording is not None:
            stages = loaded.stages
            first_ns, last_ns = span_of(recording, (*stages.instrument.topics, *stages.account.topics))
            from_ns, to_ns = wanted.from_ns or first_ns, wanted.to_ns or last_ns + 1
            stamps += foresight(loaded, from_ns, to_ns, allow=self.allow_overlap)
            stamps += [f"Damaged: {one}." for one in recording.damage]
            for single, packed in (("ticks", "frames"), ("documents", "news")):
                if single in recording.topics and packed not in recording.topics:
                    stamps.append(
                        f"The {single} were not used: the gateway makes {packed} of them, and there are none."
                    )
        if wanted.instruments:
            stamps.append(f"Of {len(wanted.instruments)} instruments alone: the market stage heard nothing.")
        if wanted.offsets:
            stamps.append("Of some offsets alone.")
        return stamps

    def _sharded(self, loaded: Loaded, writer: ReplayWriter | None) -> Replayed:
        assert self.recording is not None
        assert self.shards is not None
        count, address = self.shards
        job = shards.job_of(self.settings, self.recording, loaded, self.wanted, self.level, written=writer is not None)
        with shards.connected(address, count) as cluster, progress("replaying by shards") as show:
            return shards.replay(cluster, job, self.recording, loaded, shards=count, writer=writer, progress=show)

    async def _replayed(self, loaded: Loaded, sink: Sink | None, beat: Beat) -> Replayed:
        recording, wanted = self.recording, self.wanted
        if recording is not None and not self.by_journals:
            first_ns, last_ns = span_of(recording, loaded.stages.instrument.topics)
            first_ns = max(first_ns, wanted.start_ns)
            whole_ns = max(1, min(last_ns, wanted.to_ns or last_ns) - first_ns)
            with progress("replaying") as show:

                async def told(clock_ns: int) -> None:
                    show(max(0, clock_ns - first_ns), whole_ns)
                    await beat(clock_ns)

                with encoding_ahead() as pool:
                    return await history(
                        recording, loaded.stages, wanted, sink=sink, beat=told, level=self.level, pool=pool
                    )
        log: Log
        total: int | None = None
        if recording is not None:
            partitions: Sequence[int] = recording.partitions("journal")
            log, total = recorded(recording), recording.rows(loaded.stages.instrument.topics)
        else:
            needed = [topic for stage in loaded.stages for topic in (*stage.topics, stage.journal)]
            partitions = range(await kafka.require_topics(self.settings, (*needed, "alerts")))
            log = broker(self.settings)
        done = 0
        with progress("replaying by the journals") as show:

            def applied(count: int) -> None:
                nonlocal done
                done += count
                show(done, total)

            return await journals(log, partitions, loaded, wanted, sink=sink, progress=applied, beat=beat)

    async def _compared(self, replayed: Replayed) -> bool:
        """Compare what a replay by journals gives with the alerts that are there."""
        wanted = self.wanted
        if self.recording is not None:
            if "alerts" not in self.recording.topics:
                return True
            there, where = of_recording(self.recording), "in the recording"
        else:
            there, where = await on_broker(self.settings), "on the broker"
        last_ns = wanted.to_ns or 2**63

        def counts(at_ns: int, instrument: str, typology: str) -> bool:
            known = not (wanted.instruments and typology.startswith("market_wide"))
            return wanted.from_ns <= at_ns < last_ns and wanted.wants(instrument) and known

        theirs, ours = (
            [a for a in alerts if counts(a.times.available_at, a.subject.instrument, a.finding.typology)]
            for alerts in (there, replayed.alerts)
        )
        if (found := digest(theirs)) == digest(ours):
            typer.echo(f"MATCH: the alerts {where} are these")
            return True
        missing = {a.alert_id for a in ours} - {a.alert_id for a in theirs}
        surplus = {a.alert_id for a in theirs} - {a.alert_id for a in ours}
        typer.echo(
            f"DIFFERENT: the digest of the alerts {where} is {found}; {len(missing)} missing there,"
            f" {len(surplus)} not in replay"
        )
        first = alike(ours, theirs)
        if first is None:
            typer.echo(f"They agree within {TOLERANCE:g}: numbers of another back end, precision or processor")
            return True
        typer.echo(f"The first is {first[0]}: {first[1]}")
        return False


class _Tee:
    """Several sinks as one."""

    def __init__(self, sinks: Sequence[Sink]) -> None:
        self._sinks = sinks

    def begin_stage(self) -> None:
        for sink in self._sinks:
            sink.begin_stage()

    def take(self, output: object) -> None:
        for sink in self._sinks:
            sink.take(output)

    def refuse(self, letter: DeadLetter) -> None:
        for sink in self._sinks:
            sink.refuse(letter)


def _joined(sinks: Sequence[Sink]) -> Sink | None:
    if len(sinks) < 2:
        return sinks[0] if sinks else None
    return _Tee(sinks)


def paced(speed: float, from_ns: int, republisher: Republisher | None) -> Beat:
    """Return what is awaited at each second: others run, what is held is sent, a paced replay waits for its time."""
    began: tuple[float, int] | None = None

    async def beat(clock_ns: int) -> None:
        nonlocal began
        if republisher is not None:
            await republisher.flush()
        wait_s = 0.0
        if speed and clock_ns >= from_ns:
            began = began or (time.monotonic(), clock_ns)
            wait_s = began[0] + (clock_ns - began[1]) / 1e9 / speed - time.monotonic()
        if wait_s > 0 and republisher is not None:
            await republisher.flush(all_of_it=True)
        await asyncio.sleep(max(0.0, wait_s))

    return beat


def _report(replayed: Replayed, told: Told, set_aside: Mapping[str, int]) -> None:
    opened = Counter(a.finding.typology for a in replayed.alerts if a.activity == "create" and not a.quality.warm_up)
    for typology, count in sorted(opened.items()):
        typer.echo(f"{count:6,}  episodes of {typology}")
    drift = Counter((one.kind.replace("_", " "), one.stream) for one in replayed.drift)
    for (kind, stream), count in sorted(drift.items()):
        typer.echo(f"{count:6,}  drift signals, {kind}: {stream}")
    counts = told.counts
    warm = f" ({counts.warm_up_alerts:,} more of the warm-up)" if counts.warm_up_alerts else ""
    typer.echo(
        f"{sum(counts.messages.values()):,} messages, {counts.ticks:,} ticks, {counts.scores:,} scores,"
        f" {counts.signals:,} signals, {counts.drift:,} drift signals, {counts.alerts:,} alerts{warm},"
        f" {counts.dead_letters:,} dead letters, {told.cpu_s:.1f} s of CPU in {told.seconds:.1f} s"
    )
    for sentence in sentences(set_aside):
        typer.echo(f"Set aside: {sentence}")
    for stamp in told.stamps:
        typer.echo(f"Note: {stamp}")
    typer.echo(f"digest {told.digest}")
