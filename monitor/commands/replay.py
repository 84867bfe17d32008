"""`tocsin replay`: the same agents over a recording, or over what the broker holds."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from monitor.commands.options import Bootstrap, Prefix, WhereDamaged
from monitor.errors import StartupError
from monitor.settings import Settings, load

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from monitor.recordings import Damaged, Recording
    from monitor.replay import Beat, Log, Replayed, Sink
    from monitor.replay_output import Origin, ReplayWriter, Told
    from monitor.replay_range import Range
    from monitor.replay_run import Loaded
    from schemas.alerts import Alert
    from schemas.records import DeadLetter

app = typer.Typer()


class Level(StrEnum):
    """A level of the ladder, see `schemas.journal.Ladder`."""

    FULL = "full"
    TEXT_AND_TICKS = "text"
    RULES = "rules"


@app.command()
def replay(
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="RECORDING",
            help="A recording: a folder or a URL (s3://bucket/day). Left out: what is on the broker.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder to make: alerts, scores, signals, tracks and metrics as Parquet and NDJSON."),
    ] = None,
    to_prefix: Annotated[
        str | None,
        typer.Option(
            help="Send alerts, scores, signals and dead letters to topics of this prefix, never the live one."
        ),
    ] = None,
    begin: Annotated[
        str | None,
        typer.Option("--from", help="First moment of ts_available that counts: ISO 8601 (UTC), or an age (7d)."),
    ] = None,
    end: Annotated[
        str | None, typer.Option("--to", help="The moment before which to end; by journals in whole seconds.")
    ] = None,
    warm_up: Annotated[
        str,
        typer.Option(
            help="What is applied before --from to build state (90m, 1d). Alerts of it are marked `quality.warm_up`,"
            " and are not in the digest."
        ),
    ] = "1d",
    instruments: Annotated[
        str | None,
        typer.Option(help="Only these, comma-separated. The market stage, which hears of all, is left out then."),
    ] = None,
    offsets: Annotated[
        list[str] | None,
        typer.Option(help="Only these of a topic: TOPIC=FIRST:LAST or TOPIC/PARTITION=FIRST:LAST, as often as needed."),
    ] = None,
    by_history: Annotated[
        bool,
        typer.Option("--history", help="In canonical order (by ts_available), even where there are journals."),
    ] = False,
    speed: Annotated[
        float, typer.Option(min=0.0, help="How many times as fast as it happened; 0: as fast as it goes.")
    ] = 0.0,
    level: Annotated[
        Level, typer.Option(help="What the ladder leaves out: charts and sound, or all that asks a trained model.")
    ] = Level.FULL,
    shards: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Share the instruments out to so many processes of this machine, or of the cluster at --ray: equal"
            " results, sooner. Needs the extra `ray`.",
        ),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(help="A cluster of Ray (auto, HOST:PORT, ray://HOST:PORT) whose workers see the recording too."),
    ] = None,
    bundle: Annotated[
        list[Path] | None,
        typer.Option(help="Another model bundle [TOCSIN_BUNDLE]; of journals one for each that they name."),
    ] = None,
    rules: Annotated[
        Path | None,
        typer.Option(help="Rule file [TOCSIN_RULES]; a journal says itself which rules were in effect, and where."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="Settings in TOML or YAML, over those of the environment.")
    ] = None,
    allow_overlap: Annotated[
        bool,
        typer.Option(
            "--allow-overlap", help="Use a bundle that was trained on times that are tested; it is said then."
        ),
    ] = False,
    damaged: WhereDamaged = "refuse",
    alert: Annotated[
        str | None,
        typer.Option(help="Rebuild this alert, and say MATCH or the first difference (exit code 1)."),
    ] = None,
    check_lookahead: Annotated[
        bool,
        typer.Option("--check-lookahead", help="Scramble what follows several moments: nothing before may change."),
    ] = False,
    cuts: Annotated[int, typer.Option(min=1, help="Moments that --check-lookahead tries.")] = 6,
    seed: Annotated[int, typer.Option(help="Chooses them, and what is made of the future.")] = 0,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
) -> None:
    """Replay a stream through the daemon's agents and print the digest of its alerts: equal input, equal digest.

    A recording that holds its journals (`tocsin record`) is replayed by them, as it was live; one that was never live
    (`tocsin simulate`, `convert`) in the order of `ts_available`. Without a recording the journals on the broker are
    replayed. Where alerts are there too, they are compared (exit code 1 where they differ). Where a bundle was swapped,
    each that decided a part is needed: name them by --bundle.

    Examples:

    - `tocsin simulate --seed 7 --out day`, then `tocsin replay day --out replayed`: a folder for DuckDB, Polars and
      `tocsin backtest`

    - `tocsin replay day --from 2025-03-03T16:00 --to 2025-03-03T18:00 --warm-up 1h --instruments ORCHID.XTOC`

    - `tocsin replay day --config stricter.toml --bundle bundles/new --out challenger`

    - `tocsin replay --history --from 2h --to-prefix replay. --speed 60`: two hours of the broker's, in two minutes

    - `tocsin replay replayed --alert 3f2a91`: the alert again, from its evidence (of a replay's folder, a recording
      with its alerts, or the broker)

    - `tocsin replay year --shards 8 --out replayed`: the same, by eight processes (`--ray HOST:PORT`: by a cluster)

    - `tocsin replay day --check-lookahead --cuts 10`: does this configuration know the future?
    """
    if alert is not None or check_lookahead:
        unread: dict[str, object] = {"--out": out, "--to-prefix": to_prefix, "--offsets": offsets, "--speed": speed}
        unread |= {"--shards": shards is not None, "--ray": ray, "--level": level is not Level.FULL}
        if alert is not None:
            unread |= {"--check-lookahead": check_lookahead, "--history": by_history, "--from": begin, "--to": end}
            unread |= {"--instruments": instruments}
        elif bundle:
            unread |= {"a second --bundle": bundle[1:]}
        if given := [name for name, value in unread.items() if value]:
            what = "--alert" if alert is not None else "--check-lookahead"
            raise StartupError(f"{what} makes no use of {', '.join(given)}: leave that out.")
    bundles = bundle or []
    settings = load(config, bundle=bundles[0] if bundles else None, rules=rules, bootstrap=bootstrap, prefix=prefix)
    wanted = _range(begin, end, warm_up, instruments, offsets or [])
    if alert is not None:
        from monitor.commands.replay_checks import prove

        prove(settings, source, alert, bundles[1:], damaged)
        return
    if to_prefix is not None:
        from monitor.republish import require_another

        require_another(settings, to_prefix)
    if out is not None and out.exists():
        raise StartupError(f"{out} exists; remove it or name another folder.")
    with opened(settings, source, by_history or check_lookahead, wanted, damaged) as recording:
        if check_lookahead:
            if recording is None:
                raise StartupError("--check-lookahead needs history: name a recording, or say --history.")
            from monitor.commands.replay_checks import look_ahead

            look_ahead(settings, recording, wanted, cuts, seed)
            return
        journals = recording is None or (not by_history and "journal" in recording.topics)
        if not journals and bundles[1:]:
            raise StartupError("History is replayed with one bundle: leave the other --bundle out.")
        if journals and rules is not None:
            raise StartupError("Journals say which rules were in effect, and where: for --rules say --history as well.")
        if journals and (speed or wanted.offsets):
            raise StartupError(
                "Journals are applied from their beginning, partition by partition: for --speed or --offsets say"
                " --history as well."
            )
        if journals and level is not Level.FULL:
            raise StartupError("A journal says at which level of the ladder it was: for --level say --history as well.")
        sharded = shards is not None or ray is not None
        if sharded and (journals or source is None or speed or to_prefix or wanted.offsets):
            raise StartupError(
                "--shards and --ray replay a recording by history into a folder or none: leave --speed, --offsets and"
                " --to-prefix out, and name a recording (with journals, say --history as well)."
            )
        job = _Job(
            settings=settings,
            source=source or "",
            recording=recording,
            by_journals=journals,
            others=bundles[1:],
            wanted=wanted,
            speed=speed,
            allow_overlap=allow_overlap,
            out=out,
            to_prefix=to_prefix,
            level=list(Level).index(level),
            shards=(shards or 0, ray or "") if sharded else None,
        )
        if not asyncio.run(job.run()):
            raise typer.Exit(1)


def _range(begin: str | None, end: str | None, warm_up: str, instruments: str | None, offsets: list[str]) -> Range:
    from monitor.replay_range import Range, offsets_of
    from monitor.when import duration_ns, since_ns

    return Range(
        from_ns=since_ns(begin, option="--from") if begin else 0,
        to_ns=max(1, since_ns(end, option="--to")) if end else 0,  # 0 is no bound
        warm_up_ns=duration_ns(warm_up, "--warm-up"),
        instruments=frozenset(name.strip() for name in (instruments or "").split(",") if name.strip()),
        offsets=offsets_of(offsets),
    )


@contextmanager
def opened(
    settings: Settings, source: str | None, by_history: bool, wanted: Range, damaged: Damaged
) -> Iterator[Recording | None]:
    """Yield the recording: the one that is named, or of the broker's topics, where they are history; else None."""
    from monitor.capture import capture
    from monitor.folders import Folder
    from monitor.recordings import Recording
    from monitor.replay_range import require_some
    from schemas.topics import INSTRUMENT_INPUTS

    if source is not None:
        recording = Recording.open(source, damaged=damaged)
        require_some(recording, wanted, source)
        yield recording
    elif not by_history:
        yield None
    else:
        with tempfile.TemporaryDirectory(prefix="tocsin-") as folder, progress("reading the broker's topics") as show:
            # Kafka's timestamp of a message is at most 5 s before its ts_available; it may be long after it.
            begin_ns = max(0, wanted.start_ns - 5_000_000_000)
            path = Path(folder) / "history"
            asyncio.run(
                capture(
                    settings,
                    Folder(path),
                    topics=INSTRUMENT_INPUTS,
                    begin=begin_ns,
                    until="now",
                    accept_gaps=True,
                    on_progress=lambda captured: show(captured.messages, captured.messages + captured.lag),
                )
            )
            recording = Recording.open(path, damaged="skip")
            require_some(recording, wanted, f"The broker at {settings.bootstrap}")
            yield recording


@contextmanager
def progress(doing: str) -> Iterator[Callable[[float, float | None], None]]:
    """Show a bar on stderr; what is yielded takes how far it has come, and of how much."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(doing, total=None)
        yield lambda done, of: bar.update(task, completed=done, total=of)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
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
        from monitor.replay_output import ReplayWriter
        from monitor.replay_run import Watch, brought, load, marked, metrics

        watch = Watch()
        loaded = load(brought(self.settings, self.recording), self.others)
        stamps = self._stamps(loaded)
        async with AsyncExitStack() as stack:
            sinks: list[Sink] = []
            writer = None
            if self.out is not None:
                sinks.append(writer := stack.enter_context(ReplayWriter(self.out, specs=loaded.stages.specs)))
            republisher = None
            if self.to_prefix is not None:
                from monitor.republish import republishing

                republisher = await stack.enter_async_context(
                    republishing(self.settings, self.to_prefix, self.wanted.from_ns)
                )
                sinks.append(republisher)
            beat = _beat(self.speed, self.wanted.from_ns, republisher.flush if republisher else None)
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
            )
            if writer is not None:
                writer.finish(replayed.alerts, told, metrics(loaded, replayed, told))
        _report(replayed, told)
        return await self._compared(replayed) if self.by_journals else True

    def _origin(self) -> Origin:
        from monitor.folders import Folder
        from monitor.replay_output import Origin

        if self.recording is None or not self.source:
            return Origin(path=self.settings.bootstrap)
        folder = Folder(self.source).local
        return Origin(path=str(folder.resolve()) if folder else self.source, digest=self.recording.digest)

    def _stamps(self, loaded: Loaded) -> list[str]:
        from monitor.replay_range import span_of
        from monitor.replay_run import foresight

        stamps = []
        wanted, recording = self.wanted, self.recording
        if recording is not None:
            first_ns, last_ns = span_of(recording, loaded.stages.instrument.topics)
            from_ns, to_ns = wanted.from_ns or first_ns, wanted.to_ns or last_ns + 1
            stamps += foresight(loaded, from_ns, to_ns, allow=self.allow_overlap)
            stamps += [f"Not used of {one.topic}: {one.reason}." for one in recording.damage]
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
        from monitor.shards import connected, job_of, replay

        assert self.recording is not None
        assert self.shards is not None
        shards, address = self.shards
        job = job_of(self.settings, self.recording, loaded, self.wanted, self.level, written=writer is not None)
        with connected(address, shards) as cluster, progress("replaying by shards") as show:
            return replay(cluster, job, self.recording, loaded, shards=shards, writer=writer, progress=show)

    async def _replayed(self, loaded: Loaded, sink: Sink | None, beat: Beat) -> Replayed:
        from monitor import kafka
        from monitor.replay import broker, recorded
        from monitor.replay_range import span_of
        from monitor.replay_run import encoding_ahead, history, journals

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
        from monitor.proof import of_recording
        from schemas.alerts import digest

        wanted = self.wanted
        if self.recording is not None:
            if "alerts" not in self.recording.topics:
                return True
            there, where = of_recording(self.recording), "in the recording"
        else:
            there, where = await alerts_there(self.settings), "on the broker"
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
        from monitor.agreement import TOLERANCE, alike

        first = alike(ours, theirs)
        if first is None:
            typer.echo(f"They agree within {TOLERANCE:g}: numbers of another back end, precision or processor")
            return True
        typer.echo(f"The first is {first[0]}: {first[1]}")
        return False


async def alerts_there(settings: Settings) -> list[Alert]:
    """Return the alerts that are on the broker."""
    from monitor import kafka
    from monitor.replay import alerts_on_broker

    partitions = await kafka.require_topics(settings, ("alerts",))
    return [one for n in range(partitions) for one in await alerts_on_broker(settings, n)]


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


def _beat(speed: float, from_ns: int, flush: Any) -> Beat:
    """Return what is awaited at each second: others run, what is held is sent, a paced replay waits for its time."""
    began: tuple[float, int] | None = None

    async def beat(clock_ns: int) -> None:
        nonlocal began
        if flush is not None:
            await flush()
        wait_s = 0.0
        if speed and clock_ns >= from_ns:
            began = began or (time.monotonic(), clock_ns)
            wait_s = began[0] + (clock_ns - began[1]) / 1e9 / speed - time.monotonic()
        if wait_s > 0 and flush is not None:
            await flush(all_of_it=True)
        await asyncio.sleep(max(0.0, wait_s))

    return beat


def _report(replayed: Replayed, told: Told) -> None:
    opened = Counter(a.finding.typology for a in replayed.alerts if a.activity == "create" and not a.quality.warm_up)
    for typology, count in sorted(opened.items()):
        typer.echo(f"{count:6,}  episodes of {typology}")
    counts = told.counts
    warm = f" ({counts.warm_up_alerts:,} more of the warm-up)" if counts.warm_up_alerts else ""
    typer.echo(
        f"{sum(counts.messages.values()):,} messages, {counts.ticks:,} ticks, {counts.scores:,} scores,"
        f" {counts.signals:,} signals, {counts.alerts:,} alerts{warm}, {counts.dead_letters:,} dead letters,"
        f" {told.cpu_s:.1f} s of CPU in {told.seconds:.1f} s"
    )
    for stamp in told.stamps:
        typer.echo(f"Note: {stamp}")
    typer.echo(f"digest {told.digest}")
