"""`tocsin replay`: the same agents over a recording, or over what the broker holds."""

from __future__ import annotations

import asyncio
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from monitor.commands.options import Bootstrap, Prefix, WhereDamaged
from monitor.errors import StartupError
from monitor.settings import load

if TYPE_CHECKING:
    from monitor.replay_range import Range

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
        typer.Option(
            help="Folder to make: alerts, scores, signals, drift, tracks, dead letters, metrics as Parquet or NDJSON."
        ),
    ] = None,
    to_prefix: Annotated[
        str | None,
        typer.Option(
            help="Send alerts, scores, signals, drift and dead letters to topics of this prefix, never the live one."
        ),
    ] = None,
    begin: Annotated[
        str | None,
        typer.Option("--from", help="First moment of ts_available that counts: ISO 8601 (UTC), or an age (7d)."),
    ] = None,
    end: Annotated[
        str | None,
        typer.Option("--to", help="The moment before which to end: nothing is said that was available from then on."),
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
    from monitor.commands.replay_job import Job, opened

    with opened(settings, source, by_history or check_lookahead, wanted, damaged) as recording:
        if check_lookahead:
            if recording is None:
                raise StartupError("--check-lookahead needs history: name a recording, or say --history.")
            from monitor.commands.replay_checks import look_ahead

            look_ahead(settings, recording, wanted, cuts, seed, on_broker=source is None)
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
        job = Job(
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
