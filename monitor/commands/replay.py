"""`tocsin replay`: the same agents over a recording, or over what the journals say was applied."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from monitor.commands.options import Bootstrap, Prefix
from monitor.errors import StartupError
from monitor.settings import Settings, load

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType
    from typing import Self

    from monitor.replay import Replayed
    from monitor.replay_output import Origin
    from monitor.stage import Stages

app = typer.Typer()


@app.command()
def replay(
    recording: Annotated[
        Path | None, typer.Argument(help="A recording's folder. Left out: what the journals on the broker name.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder to make: alerts, scores, signals, tracks and metrics as Parquet and NDJSON."),
    ] = None,
    bundle: Annotated[
        list[Path] | None,
        typer.Option(help="Another model bundle [TOCSIN_BUNDLE]; of journals one for each that they name."),
    ] = None,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
) -> None:
    """Replay a stream through the daemon's agents and print the digest of its alerts.

    With a recording, messages are taken in the order of `ts_available`: equal input gives an equal digest. Without one,
    each partition's journal is read from its beginning and applied to the messages that it names; the digest is that of
    the alerts which a worker that never failed would have sent, and is compared with the alerts on the broker (exit
    code 1 where they differ). Where a bundle was swapped, each that decided a part is needed: name them by --bundle.

    Example: `tocsin simulate --seed 7 --out day`, then `tocsin replay day --out replayed`
    """
    bundles = bundle or []
    settings = load(bundle=bundles[0] if bundles else None, bootstrap=bootstrap, prefix=prefix)
    others = bundles[1:]
    if recording is not None:
        if others:
            raise StartupError("A recording is replayed with one bundle: leave the other --bundle out.")
        _report(asyncio.run(_recording(settings, recording, out)))
    elif not asyncio.run(_journals(settings, others, out)):
        raise typer.Exit(1)


async def _recording(settings: Settings, path: Path, out: Path | None) -> Replayed:
    from rich.progress import Progress

    from monitor.recordings import Message, Recording
    from monitor.replay import by_history
    from monitor.replay_output import Origin
    from monitor.stage import load_stages

    recording = Recording.open(path)
    symbols = settings.symbols or recording.symbols
    stages = load_stages(settings.model_copy(update={"symbols": symbols}), lambda _: None, mode="replay")
    topics = stages.instrument.topics
    with Progress(transient=True) as progress, _Writing(stages, out) as writing:
        task = progress.add_task("replaying", total=recording.rows(topics))

        def advance(_: Message) -> None:
            progress.advance(task)

        replayed = await by_history(recording.messages(topics), stages, advance, writing.sink)
        writing.finish(replayed, "history", Origin(path=str(path), digest=recording.digest))
        return replayed


class _Writing:
    """The folder that a replay writes, where one was asked for."""

    def __init__(self, stages: Stages, out: Path | None) -> None:
        from monitor.replay_output import ReplayWriter

        self._stages = stages
        self.sink = None if out is None else ReplayWriter(out, specs=stages.specs)
        self._began_s = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.sink is not None:
            self.sink.__exit__(kind, error, trace)

    def finish(self, replayed: Replayed, source: str, origin: Origin) -> None:
        from monitor.recordings import code_version
        from monitor.replay_output import Counts, Told
        from schemas.alerts import digest

        if self.sink is None:
            return
        told = Told(
            code_version=code_version(),
            source=source,
            recording=origin,
            from_ns=replayed.first_ns,
            to_ns=replayed.last_ns + 1,
            until_ns=replayed.clock_ns,
            bundle=self._stages.about["bundle"],
            config=self._stages.about["config"],
            digest=digest(replayed.alerts),
            counts=Counts(
                messages=replayed.by_topic,
                ticks=replayed.ticks,
                scores=replayed.scores,
                signals=replayed.signals,
                alerts=len(replayed.alerts),
                dead_letters=replayed.refusals.total(),
                moments=self.sink.moments,
            ),
            seconds=time.monotonic() - self._began_s,
            cpu_s=time.process_time(),
        )
        self.sink.finish(replayed.alerts, told, [])


async def _journals(settings: Settings, others: Sequence[Path], out: Path | None) -> bool:
    from monitor import kafka
    from monitor.replay import Replayed, alerts_on_broker
    from monitor.replay_output import Origin
    from monitor.stage import load_stages
    from schemas.alerts import digest

    stages = load_stages(settings, lambda _: None, mode="replay")
    more = [
        load_stages(settings.model_copy(update={"bundle": other}), lambda _: None, mode="replay", before=stages)
        for other in others
    ]
    needed = [topic for stage in stages for topic in (*stage.topics, stage.journal)]
    partitions = await kafka.require_topics(settings, (*needed, "alerts"))
    with _Writing(stages, out) as writing:
        whole = Replayed(writing.sink)
        await _all_partitions(settings, stages, more, partitions, whole)
        writing.finish(whole, "journal", Origin(path=settings.bootstrap))
    _report(whole)
    sent = []
    for partition in range(partitions):
        sent += await alerts_on_broker(settings, partition)
    if (on_broker := digest(sent)) == digest(whole.alerts):
        typer.echo("MATCH: the alerts on the broker are these")
        return True
    missing = {a.alert_id for a in whole.alerts} - {a.alert_id for a in sent}
    surplus = {a.alert_id for a in sent} - {a.alert_id for a in whole.alerts}
    typer.echo(
        f"DIFFERENT: the broker's digest is {on_broker}; {len(missing)} missing there, {len(surplus)} not in replay"
    )
    return False


async def _all_partitions(
    settings: Settings, stages: Stages, more: Sequence[Stages], partitions: int, whole: Replayed
) -> None:
    from monitor.replay import by_journal
    from monitor.sequencer import JournalMismatchError

    for stage, partition in [*((stages.instrument, partition) for partition in range(partitions)), (stages.market, 0)]:
        try:
            of = [one.instrument if stage is stages.instrument else one.market for one in more]
            found = await by_journal(settings, stage, partition, others=of, sink=whole.sink)
        except JournalMismatchError as error:
            raise StartupError(
                f"Partition {partition} of the {stage.name} stage cannot be replayed from its beginning, for retention"
                f" has deleted what it was made of ({error}): keep the inputs for longer, or replay a recording."
            ) from error
        whole.add(found)


def _report(replayed: Replayed) -> None:
    from schemas.alerts import digest

    opened = Counter(a.finding.typology for a in replayed.alerts if a.activity == "create")
    for typology, count in sorted(opened.items()):
        typer.echo(f"{count:6,}  episodes of {typology}")
    typer.echo(
        f"{replayed.messages:,} messages, {replayed.scores:,} scores, {replayed.signals:,} signals, "
        f"{len(replayed.alerts):,} alerts, {replayed.refusals.total():,} dead letters, "
        f"{time.process_time():.1f} s of CPU"
    )
    typer.echo(f"digest {digest(replayed.alerts)}")
