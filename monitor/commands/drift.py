"""`tocsin drift`: what is no longer as it was, and a picture of it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from monitor.commands.options import Bootstrap, Prefix
from monitor.errors import StartupError
from monitor.settings import load

app = typer.Typer()


@app.command()
def drift(
    wanted: Annotated[
        str | None, typer.Argument(metavar="ID", help="A signal's id, to draw it; the first digits will do.")
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option(
            "--from",
            help="Look in a replay's folder, or a recording of the topic, not on the topic.",
            show_default=False,
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            help="Signals that became available since: `beginning`, 15m, 1h, 7d, or a time in ISO 8601.",
            show_default="7d; with --from the beginning",
        ),
    ] = None,
    kind: Annotated[str | None, typer.Option(help="Only this kind: market, stale_feed, unit_change, …")] = None,
    subject: Annotated[
        str | None, typer.Option(help="Only this instrument (or sector, or market), such as ACME.XTOC.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="HTML file to draw the signal of ID into; one that is there is replaced.", show_default=False
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The signals as they are, one a line.")] = False,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
) -> None:
    """List what was found to be no longer as it was; with an ID and --out, draw it as a page that loads nothing.

    A line: when it was known (UTC), kind, whom it concerns, which stream, what moved from what to what, since when, id.
    The page shows the values that it was told by, before and after, who else drifted then, and what it rests on.

    `market` is the market's drift: volatility, volume, spread, risk, tone or words. The other kinds are of the data
    (stale_feed, frozen_price, unit_change, vocabulary, new_instrument): look at the feed before you look at models.

    Examples:

    `tocsin drift --since 1d --kind market`

    `tocsin drift 3f2a --out drift.html`

    `tocsin replay day --out replayed`, then `tocsin drift --from replayed`
    """
    import msgspec
    from rich.console import Console

    from monitor import drifts
    from monitor.ids import named
    from monitor.render import drift_table
    from monitor.when import since_ns
    from schemas.alerts import DRIFT_KINDS

    if kind is not None and kind not in DRIFT_KINDS:
        raise StartupError(f"--kind: expected one of {', '.join(DRIFT_KINDS)}, found {kind!r}.")
    if out is not None and wanted is None:
        raise StartupError("--out draws one signal: say which by its id; without --out they are listed.")
    since = since or ("beginning" if source else "7d")
    begin_ns = since_ns(since)
    if source is not None:
        told = [one for one in drifts.in_folder(source) if one.ts_available >= begin_ns]
    else:
        told = asyncio.run(drifts.on_topic(load(bootstrap=bootstrap, prefix=prefix), begin_ns))
    shown = [one for one in told if kind in (None, one.kind) and subject in (None, one.subject)]
    if wanted is not None:
        where = f"{source or 'signals'} since {since}"
        ids = {one.drift_id: one.drift_id for one in shown}
        only = named(wanted, ids, "drift signal", where=where, listing="`tocsin drift`")
        shown = [one for one in shown if one.drift_id == only]
    if out is not None:
        from monitor.report import drifting

        drifting.write_page(shown[0], told, out)
        typer.echo(f"{out}: {drifting.title(shown[0])}, {out.stat().st_size / 1e6:.1f} MB")
        return
    if as_json:
        for one in shown:
            typer.echo(msgspec.json.encode(one).decode())
        return
    console = Console()
    console.print(drift_table(shown))
    hint = "; `tocsin drift ID --out drift.html` draws one" if shown else ""
    console.print(f"{len(shown):,} signals{hint}", soft_wrap=True)
