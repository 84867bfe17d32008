"""`tocsin disposition`: say what was found of an alert, and learn from what was."""

from __future__ import annotations

import asyncio
import time
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer
from typer.core import TyperGroup

from monitor.commands.options import Author, Bootstrap, Prefix
from monitor.errors import StartupError
from monitor.settings import Settings, load

if TYPE_CHECKING:
    from engines.dispositions import Range
    from monitor.dispositions import Known


class _Set(TyperGroup):
    """A group in which `set` may be left out: what names no command is an alert."""

    # Any: Typer carries its own copy of Click, whose Context has no public name.
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            args = ["set", *args]
        return list(super().parse_args(ctx, args))


app = typer.Typer(
    cls=_Set,
    help="Say what was found of an alert: `tocsin disposition ALERT VALUE`; learn from what was.",
    no_args_is_help=True,
)

File = Annotated[
    Path | None,
    typer.Option("--file", help="Dispositions are in this file, a line each, not on the topic.", show_default=False),
]
From = Annotated[
    Path | None,
    typer.Option(
        "--from",
        help="Look for alerts in a replay's folder, a recording of their topic, or a file of what `tocsin alerts"
        " --json` prints, not on topics.",
        show_default=False,
    ),
]
Since = Annotated[
    str, typer.Option(help="Look among alerts that were sent since: `beginning`, 15m, 1h, 7d, or a time in ISO 8601.")
]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON, one a line.")]


@app.command("set")
def set_(
    alert: Annotated[str, typer.Argument(help="Id of an alert, an episode or a review; the first digits will do.")],
    value: Annotated[
        str, typer.Argument(help="confirmed_risk, valuable_alert, false_positive, duplicate or data_error.")
    ],
    author: Author,
    note: Annotated[str, typer.Option(help="What else is to be said of it.")] = "",
    at: Annotated[
        str | None,
        typer.Option(help="When it was found, as --since: from then on it is known.", show_default="now"),
    ] = None,
    source: From = None,
    file: File = None,
    since: Since = "30d",
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
) -> None:
    """Say what was found of an alert's episode, or of a review; `set` may be left out.

    A closed episode may be disposed of, and one may be again: the last value counts, and all of them are kept.

    Example: `tocsin disposition 3f2a91c0 false_positive --note "an index was rebalanced"`
    """
    from monitor.dispositions import Store
    from monitor.when import since_ns
    from schemas.records import Verdict

    if value not in get_args(Verdict):
        raise StartupError(f"VALUE: expected one of {', '.join(get_args(Verdict))}, found {value!r}.")
    settings = load(bootstrap=bootstrap, prefix=prefix)
    at_ns = time.time_ns() if at is None else since_ns(at, option="--at")
    store = Store(settings, file)
    before = asyncio.run(store.read())
    known = _known(settings, source, since)
    subject = known.find(alert, str(source) if source else f"those sent since {since}")
    mine = [one for one in before if one.episode_id == subject.episode_id]
    asyncio.run(store.add(subject.found(value, author=author, note=note, at_ns=at_ns)))  # type: ignore[arg-type]
    what = "episode" if subject.alert_id else "review"
    whom = f"{subject.instrument} · {subject.account}" if subject.account else subject.instrument
    told = f"{what} {subject.episode_id[:8]} ({subject.typology}, {whom}): {value}"
    if mine:
        was = mine[-1]
        told += f"; it was {was.value} by {was.author}" if was.value != value else f", as {was.author} had found"
    typer.echo(told)


@app.command("list")
def list_(
    file: File = None,
    history: Annotated[bool, typer.Option("--all", help="All that was ever said, not what counts alone.")] = False,
    as_json: AsJson = False,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
) -> None:
    """List what was found of each episode and review, in the order in which they were first looked at.

    Example: `tocsin disposition list --all`
    """
    import msgspec
    from rich.console import Console
    from rich.table import Table

    from engines.dispositions import RISKS, latest
    from monitor.dispositions import Store
    from monitor.render import clock, plain

    found = asyncio.run(Store(load(bootstrap=bootstrap, prefix=prefix), file).read())
    shown = found if history else latest(found)
    if as_json:
        for one in shown:
            typer.echo(msgspec.json.encode(one).decode())
        return
    table = Table(
        "episode", "at (UTC)", "value", "typology", "whom", "score", "author", "note", box=None, pad_edge=False
    )
    for one in shown:
        whom = f"{one.instrument} · {one.account}" if one.account else one.instrument
        table.add_row(
            plain(one.episode_id[:8]), clock(one.ts_event), f"[{'red' if one.value in RISKS else 'dim'}]{one.value}",
            plain(one.typology), plain(whom), f"{one.score:.2f}", plain(one.author), plain(one.note),
        )  # fmt: skip
    console = Console()
    console.print(table)
    earlier = len(found) - len(latest(found))
    console.print(f"{len(found) - earlier} looked at" + (f"; {earlier} earlier values (--all)" if earlier else ""))


@app.command()
def export(
    out: Annotated[Path, typer.Option(help="Parquet file to write, for `tocsin backtest --labels`.")],
    file: File = None,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
) -> None:
    """Write what was found as labels: risks as events, what was none as benign ones, duplicates not at all.

    Each is known from when it was found, and weighs 1 / propensity: a review stands for those that were not drawn.

    Example: `tocsin disposition export --out labels.parquet`
    """
    import pyarrow.parquet as pq

    from engines.dispositions import labels
    from monitor import label_files
    from monitor.dispositions import Store

    found = labels(asyncio.run(Store(load(bootstrap=bootstrap, prefix=prefix), file).read()))
    if not found:
        raise StartupError("Nothing was found yet: `tocsin disposition ALERT VALUE` says what an alert was.")
    pq.write_table(label_files.table(found, label_files.FOUND), out, compression="zstd")
    risks = sum(not label.benign for label in found)
    typer.echo(f"{out}: {risks} risks, {len(found) - risks} that were none")


@app.command()
def stats(
    source: From = None,
    file: File = None,
    since: Since = "beginning",
    as_json: AsJson = False,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
) -> None:
    """Say of each typology what share of its alerts were risks, and what share of risks rang, with intervals of 95 %.

    Only reviews tell what did not ring (docs/adaptation.md): without any that were looked at, no recall is told. What
    was not looked at yet is taken to be like what was.

    Example: `tocsin disposition stats`
    """
    import msgspec
    from rich.console import Console
    from rich.table import Table

    from engines.dispositions import quality
    from monitor.dispositions import Store

    settings = load(bootstrap=bootstrap, prefix=prefix)
    found = asyncio.run(Store(settings, file).read())
    known = _known(settings, source, since)
    rows = quality(found, known.counts(reviews=False), known.counts(reviews=True))
    if as_json:
        for row in rows:
            typer.echo(msgspec.json.encode(row).decode())
        return
    columns = ("typology", "episodes", "reviews", "found", "precision", "risks missed", "recall")
    table = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        values = ", ".join(f"{value} {count}" for value, count in sorted(row.found.items()))
        counts = (f"{row.episodes:,}", f"{row.reviews:,}", values or "–")
        table.add_row(row.typology, *counts, _range(row.precision), _range(row.missed, ".1f"), _range(row.recall))
    Console().print(table)


def _range(told: Range | None, form: str = ".2f") -> str:
    return "–" if told is None else f"{told.value:{form}} \\[{told.low:{form}}, {told.high:{form}}]"


def _known(settings: Settings, source: Path | None, since: str) -> Known:
    """Return the alerts and reviews that there are, and show how many while they are read."""
    from rich.console import Console

    from monitor.dispositions import in_file, on_topics
    from monitor.when import since_ns

    if source is not None:
        return in_file(source)
    console = Console(stderr=True)
    with console.status("alerts: …") if console.is_terminal else nullcontext() as status:

        def told(count: int) -> None:
            if status is not None and count % 1_000 == 0:
                status.update(f"alerts: {count:,}")

        return asyncio.run(on_topics(settings, since_ns(since), told))
