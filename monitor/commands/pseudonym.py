"""`tocsin pseudonym`: how accounts are written in alerts, for who holds the keys."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from monitor.errors import StartupError

app = typer.Typer()


@app.command()
def pseudonym(
    account: Annotated[list[str] | None, typer.Argument(help="Accounts, as feeds name them.")] = None,
    csv: Annotated[
        Path | None,
        typer.Option(help="Print this CSV file instead, with pseudonyms in a column.", show_default=False),
    ] = None,
    column: Annotated[str, typer.Option(help="The column.")] = "account",
) -> None:
    """Print the pseudonyms of accounts, by each key of TOCSIN_PSEUDONYM_KEYS_FILE.

    There is no way back but this one: whoever asks which account an alert concerns computes the pseudonyms of those
    that it may be. `--csv` makes of a file of accounts one for replays where there is no key.

    Example: `tocsin pseudonym A-17`, `tocsin pseudonym --csv accounts.csv > named.csv`
    """
    from monitor.pseudonyms import Pseudonyms
    from monitor.settings import load
    from schemas.pseudonyms import pseudonym as written

    settings = load()
    if settings.pseudonym_keys_file is None:
        raise StartupError("TOCSIN_PSEUDONYM_KEYS_FILE is not set: it names the file of keys.")
    if bool(account) == (csv is not None):
        raise StartupError("Name accounts, or a file by --csv: one of both.")
    names = Pseudonyms(settings.pseudonym_keys_file)
    if csv is not None:
        try:
            typer.echo(names.csv(csv.read_bytes(), column), nl=False)
        except (OSError, ValueError) as error:
            raise StartupError(f"{csv} cannot be read ({error}): expected CSV in UTF-8.") from error
    for one in account or ():
        for key in names.keys:
            since = (
                f"from {datetime.fromtimestamp(key.from_ns / 1e9, UTC):%Y-%m-%dT%H:%M:%SZ} on" if key.from_ns else ""
            )
            typer.echo(f"{written(key.id, key.secret, one)}  {one}  {since}".rstrip())
