"""`tocsin replay --alert` and `--check-lookahead`: what a replay can prove."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import typer

from monitor.agreement import TOLERANCE
from monitor.commands.replay_job import captured, progress
from monitor.errors import StartupError
from monitor.lookahead import check
from monitor.proof import (
    Proof,
    by_log,
    by_recording,
    chosen,
    journalled,
    of_recording,
    on_broker,
    require_configuration,
)
from monitor.recordings import Damaged, Message, Recording
from monitor.render import clock
from monitor.replay_logs import broker, recorded
from monitor.replay_output import Replay, is_replay
from monitor.replay_range import Range, require_some, span_of
from monitor.replay_run import brought, load, published
from monitor.settings import Settings


def prove(settings: Settings, source: str | None, alert_id: str, others: Sequence[Path], damaged: Damaged) -> None:
    """Rebuild an alert of a recording, a replay's folder or the broker, and print MATCH or the first difference."""
    proof = _proved(settings, source, alert_id, others, damaged)
    theirs = proof.theirs
    told = (
        f"{theirs.finding.typology} {theirs.activity} of {theirs.subject.named}, alert {theirs.alert_id},"
        f" from {proof.messages:,} messages; {proof.inputs} inputs of its evidence as they were"
    )
    for note in proof.notes:
        typer.echo(f"Note: {note}")
    if proof.difference is not None:
        typer.echo(f"DIFFERENT: {told}\n{proof.difference}")
        raise typer.Exit(1)
    typer.echo(f"MATCH: {told}")
    if proof.farthest is not None:
        typer.echo(f"within {TOLERANCE:g}; farthest apart is {proof.farthest}")


def _proved(settings: Settings, source: str | None, alert_id: str, others: Sequence[Path], damaged: Damaged) -> Proof:
    start_ns = from_ns = level = 0
    by_history = False
    recording: Recording | None = None
    if source is None:
        alerts, where = asyncio.run(on_broker(settings)), f"the broker at {settings.bootstrap}"
        listing = "`tocsin alerts`"
    elif is_replay(Path(source)):
        replay = Replay.open(Path(source))
        told = replay.manifest
        alerts, where, listing = replay.alerts(), source, f"{source}/alerts.ndjson"
        from_ns, start_ns, by_history = told.from_ns, told.from_ns - told.warm_up_ns, told.source == "history"
        level = told.level
        if told.offsets:
            raise StartupError(f"{where} is of some offsets alone (--offsets): replay it without, to prove an alert.")
        if made_of := told.recording.digest:
            recording = Recording.open(told.recording.path, damaged=damaged)
            if recording.digest != made_of:
                raise StartupError(
                    f"{recording.path} has the digest {recording.digest[:12]}…, {where} was made of {made_of[:12]}…:"
                    " bring that recording back, or replay this one again."
                )
    else:
        recording = Recording.open(source, damaged=damaged)
        alerts, where, listing = of_recording(recording), source, f"{source}/alerts/*.parquet"
        by_history = "journal" not in recording.topics
    theirs = chosen(alerts, alert_id, where, listing)
    with ExitStack() as stack:
        if recording is not None:
            require_some(recording, Range(), recording.path)
        rules = asyncio.run(published(settings, recording))
        if recording is None and by_history:
            recording = stack.enter_context(captured(settings, Range()))
        stack.enter_context(progress("rebuilding"))
        loaded = load(brought(settings, recording), others, rules)
        if recording is not None and by_history:
            require_configuration(theirs, loaded, loaded.stages.rulebook.known)
            return asyncio.run(by_recording(recording, loaded.stages, theirs, start_ns, from_ns, level))
        log = broker(settings) if recording is None else recorded(recording)
        require_configuration(theirs, loaded, asyncio.run(journalled(log, loaded, theirs)))
        return asyncio.run(by_log(log, loaded, theirs, from_ns))


def look_ahead(
    settings: Settings, recording: Recording, wanted: Range, cuts: int, seed: int, *, on_broker: bool
) -> None:
    """Scramble what follows several moments of a recording, and print whether anything before them changed.

    ``on_broker`` says that the recording is a copy of what is there.
    """
    rules = asyncio.run(published(settings, None if on_broker else recording))
    stages = load(brought(settings, recording), rules=rules).stages
    topics = (*stages.instrument.topics, *(() if wanted.instruments else stages.account.topics))
    first_ns, last_ns = span_of(recording, topics)
    begin_ns, end_ns = max(first_ns, wanted.start_ns), min(last_ns + 1, wanted.to_ns or last_ns + 1)

    def read(start_ns: int, until_ns: int) -> Iterator[Message]:
        return recording.messages(topics, max(begin_ns, start_ns), min(end_ns, until_ns or end_ns), wanted.keys)

    held = True
    with progress("replaying the whole, then each cut") as show:
        done = 0

        def replayed() -> None:
            nonlocal done
            done += 1
            show(done, cuts + 1)

        for cut in check(
            read,
            stages,
            first_ns=max(begin_ns, wanted.from_ns),
            last_ns=end_ns - 1,
            cuts=cuts,
            seed=seed,
            progress=replayed,
        ):
            held = held and not cut.changed
            what = f"CHANGED: {cut.changed}" if cut.changed else "held"
            typer.echo(
                f"{clock(cut.at_ns)} UTC ({cut.at_ns}): {cut.said:,} alerts, scores and signals before it, {what}"
            )
    typer.echo("Nothing depends on what came later" if held else "This configuration looks ahead")
    if not held:
        raise typer.Exit(1)
