"""Options that several commands share. Each overrides the environment's setting of the same name."""

from __future__ import annotations

import os
from contextlib import suppress
from getpass import getuser
from pathlib import Path
from typing import Annotated, Literal

import typer

#: What is said of a file or folder that is taken where none is named.
SHIPPED = "the one that ships"
Bootstrap = Annotated[
    str | None,
    typer.Option(help="Kafka's bootstrap servers, HOST:PORT,… [TOCSIN_BOOTSTRAP]", show_default="127.0.0.1:9092"),
]
Prefix = Annotated[
    str | None, typer.Option(help="Prefix of every topic's name [TOCSIN_PREFIX]", show_default="tocsin.")
]


def _user() -> str:
    """Return who runs this: a container may run as a number that nobody has given a name."""
    try:
        return getuser()
    except (KeyError, OSError):
        return str(os.getuid())


Author = Annotated[str, typer.Option(help="Who.", default_factory=_user, show_default="the user's name")]
RegistryPlace = Annotated[
    str | None,
    typer.Option("--registry", help="Folder of models, or its URL [TOCSIN_REGISTRY]", show_default=False),
]


def _models(incomplete: str) -> list[str]:
    from monitor.errors import StartupError
    from monitor.registry import registry_of
    from monitor.settings import load

    with suppress(StartupError):
        return [model.name for model in registry_of(load()).models() if model.name.startswith(incomplete)]
    return []


ModelName = Annotated[str, typer.Argument(help="The model's name, or its id.", autocompletion=_models)]
Data = Annotated[
    Path,
    typer.Option(help="Folder that holds the tasks' folders [TOCSIN_DATA]", envvar="TOCSIN_DATA", show_envvar=False),
]
BundleFolder = Annotated[
    Path | None, typer.Option("--bundle", help="Another model bundle [TOCSIN_BUNDLE]", show_default=SHIPPED)
]
SigningKey = Annotated[
    Path | None, typer.Option("--key", help="Private key, PEM [TOCSIN_BUNDLE_KEY_FILE]", show_default=False)
]
Cache = Annotated[Path | None, typer.Option(help="Folder that keeps compiled plans [TOCSIN_CACHE]", show_default=False)]
RecordingPlace = Annotated[
    str, typer.Argument(metavar="RECORDING", help="A recording's folder, or its URL (s3://bucket/day).")
]
TradingDay = Annotated[
    str | None,
    typer.Option(
        "--trading-day",
        help="How long a day's trading is, such as 390m: of a day tested in part, so much of it counts in rates.",
        show_default="the longest of whole days tested, else 24h",
    ),
]
WhereDamaged = Annotated[
    Literal["refuse", "skip"],
    typer.Option(
        "--damaged", help="Of a recording that is damaged or has a gap: `refuse` it, or `skip` what is not whole."
    ),
]


def pace_of(speed: str) -> float | None:
    """Return a `--speed` as a multiple of the data's own pace, None for `max`."""
    from monitor.errors import StartupError

    if speed == "max":
        return None
    try:
        pace = float(speed.removesuffix("x"))
    except ValueError:
        pace = 0.0
    if not 0 < pace < float("inf"):
        raise StartupError(f"--speed is {speed!r}; expected a number above 0, such as 1 or 60, or `max`.")
    return pace
