"""`tocsin dossier`: one alert of a replay with the evidence of every modality, as a page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from monitor.errors import StartupError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from monitor.recordings import Recording
    from monitor.replay_format import Origin
    from schemas.alerts import Alert

app = typer.Typer()


@app.command()
def dossier(
    replay: Annotated[Path, typer.Argument(help="The folder that `tocsin replay --out` wrote.")],
    alert_id: Annotated[str, typer.Argument(help="An alert's id, or its first digits; of an episode its first alert.")],
    out: Annotated[Path, typer.Option(help="HTML file to write; one that is there is replaced.")],
    book: Annotated[
        Path | None,
        typer.Option(
            help="File to write of the order book around the alert, what rested at each price from when to when and"
            " the account's orders and fills in it; .parquet or .csv.",
            show_default="none",
        ),
    ] = None,
    recording: Annotated[
        str | None,
        typer.Option(
            help="The recording that was replayed, a folder or URL.", show_default="the one that the replay names"
        ),
    ] = None,
) -> None:
    """Write a page about one alert: why it rang, the inputs themselves with what carried weight marked, who says so.

    Every input is looked up in the recording by topic, partition and offset, and its SHA-256 compared with the alert's.
    The page is one file that loads nothing.

    Where the recording has order frames, or quotes, the book around the alert is rebuilt and drawn; --book keeps it.

    Example: `tocsin replay day --out replayed`, then `tocsin dossier replayed 3f2a --out alert.html`
    """
    from monitor import book_files
    from monitor.replay_output import Replay
    from monitor.report import dossier as dossiers

    if book is not None:
        book_files.check(book)
    source = Replay.open(replay)
    alerts = source.alerts()
    alert = _wanted(alerts, alert_id, replay)
    held, name = _recording(source.manifest.recording, recording)
    case = dossiers.gather(alert, alerts, held)
    dossiers.write_page(case, name, out)
    typer.echo(f"{out}: {alert.finding.title}, {alert.subject.named}, {out.stat().st_size / 1e6:.1f} MB")
    if book is not None:
        if not case.book.spells:
            raise StartupError(
                f"{name} has neither orders nor quotes of {alert.subject.instrument} around the alert: {book} is not"
                " written; --recording names another recording."
            )
        book_files.write(case.book, book)
        rows = f"{len(case.book.spells):,} rows of levels, {len(case.book.legs):,} of the account's orders"
        typer.echo(f"{book}: the book, rebuilt of {case.book.source}, {rows}")


def _wanted(alerts: Sequence[Alert], wanted: str, replay: Path) -> Alert:
    from monitor.ids import named

    by_id = {alert.alert_id: alert for alert in alerts}
    # Of an episode the first: it says what made it ring.
    first = {alert.episode_id: alert.alert_id for alert in reversed(alerts)}
    ids = first | {one: one for one in by_id}
    return by_id[named(wanted, ids, "alert or episode", where=str(replay), listing=str(replay / "alerts.ndjson"))]


def _recording(origin: Origin, given: str | None) -> tuple[Recording | None, str]:
    """Open the recording that evidence is looked up in; where the one that was replayed is gone, the page says so."""
    from monitor.recordings import Recording, RecordingError

    name = given or origin.path
    try:
        # Each message is held against the digest that the alert names: only what cannot be read has to be known of.
        held = Recording.open(name, verify=origin.damaged, damaged="skip")
    except RecordingError as error:
        if given is not None:
            raise
        typer.echo(f"{error} Until then no evidence is shown; --recording names another place.", err=True)
        return None, name or "no recording"
    if origin.digest and held.digest != origin.digest:
        typer.echo(
            f"{name} has digest {held.digest[:12]}…, what was replayed had {origin.digest[:12]}…:"
            " what differs is marked.",
            err=True,
        )
    return held, name
