"""`tocsin alerts`: follow the topic of alerts in a terminal."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from monitor.commands.options import Bootstrap, Prefix
from monitor.errors import StartupError
from monitor.settings import Settings, load

if TYPE_CHECKING:
    from schemas.alerts import AlertEvent

app = typer.Typer()


@app.command()
def alerts(
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    since: Annotated[
        str,
        typer.Option(
            help="Begin with alerts that became available then: `beginning`, an age such as 15m, 1h or 7d, or a time in"
            " ISO 8601. What comes later is shown whatever time it speaks of."
        ),
    ] = "1h",
    instrument: Annotated[str | None, typer.Option(help="Only this one, such as ACME.XTOC")] = None,
    severity: Annotated[str | None, typer.Option(help="This severity or higher: info, warning, critical")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The messages as they are, one a line.")] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="End after so many.")] = None,
    follow: Annotated[bool, typer.Option(help="Go on with what comes; --no-follow ends with what is there.")] = True,
    show: Annotated[
        str | None,
        typer.Option(
            metavar="ID", help="The card of one alert or episode, with its evidence; the first digits will do."
        ),
    ] = None,
) -> None:
    """Follow alerts: every message of the topic, one line each, nothing hidden; closed episodes too.

    A line: when it was available (UTC), severity, instrument, what, score, why (value against bound), episode and
    revision. Ctrl-C ends it.

    Examples:

    `tocsin alerts --since 1d --severity warning --no-follow`: what rang since yesterday

    `tocsin alerts --show 3f2a`: one alert with its evidence
    """
    from schemas.alerts import Severity

    if severity is not None and severity not in get_args(Severity):
        raise StartupError(f"--severity: expected one of {', '.join(get_args(Severity))}, found {severity!r}.")
    settings = load(bootstrap=bootstrap, prefix=prefix)
    with suppress(KeyboardInterrupt):
        if show is not None:
            asyncio.run(_show(settings, show, as_json))
        else:
            asyncio.run(_lines(settings, since, instrument, severity, as_json, limit, follow))


async def _events(settings: Settings, since_ns: int, follow: bool) -> AsyncGenerator[tuple[bytes, AlertEvent], None]:
    """Yield messages with what they say: history by time, then as they come."""
    import msgspec

    from monitor import kafka, reading
    from schemas.alerts import AlertEvent

    decode = msgspec.json.Decoder(AlertEvent).decode
    async with kafka.reader(settings) as consumer:
        records, ends = await reading.history(consumer, settings, "alerts", since_ns)
        past = [(record.value, decode(record.value)) async for record in records]
        for value, event in sorted(past, key=lambda one: one[1].data.times.available_at):
            if event.data.times.available_at >= since_ns:
                yield value, event
        if follow:
            async for record in reading.follow(consumer, settings, "alerts", ends):
                yield record.value, decode(record.value)


async def _lines(
    settings: Settings,
    since: str,
    instrument: str | None,
    severity: str | None,
    as_json: bool,
    limit: int | None,
    follow: bool,
) -> None:
    from rich.console import Console

    from monitor.render import alert_line
    from monitor.when import since_ns
    from schemas.alerts import SEVERITIES

    console = Console()
    least = SEVERITIES.index(severity) if severity else 0
    shown = 0
    # Closed here, so that its client ends before the event loop does.
    async with aclosing(_events(settings, since_ns(since), follow)) as events:
        async for value, event in events:
            alert = event.data
            if instrument not in (None, alert.subject.instrument) or SEVERITIES.index(alert.finding.severity) < least:
                continue
            if as_json:
                print(value.decode(), flush=True)
            else:
                console.print(alert_line(alert), soft_wrap=True)
            shown += 1
            if shown == limit:
                return


async def _show(settings: Settings, wanted: str, as_json: bool) -> None:
    from rich.console import Console

    from monitor.ids import named
    from monitor.render import alert_card

    found = [one async for one in _events(settings, 0, follow=False)]
    by_id = {event.data.alert_id: (value, event) for value, event in found}
    # Of an episode the last revision says all that the others say.
    ordered = sorted((event.data for _, event in found), key=lambda alert: alert.revision)
    ids = {alert.episode_id: alert.alert_id for alert in ordered} | {one: one for one in by_id}
    listing = "`tocsin alerts --since beginning`"
    value, event = by_id[named(wanted, ids, "alert or episode", where="the topic", listing=listing)]
    if as_json:
        print(value.decode())
    else:
        Console().print(alert_card(event.data))
