"""`tocsin`: the command line. Each command lives in a module of `monitor.commands` and loads only when it is called."""

from __future__ import annotations

import errno
import importlib
import sys
from typing import Annotated, Any

import structlog
import typer
from typer.core import TyperGroup

from monitor.errors import StartupError

#: command → module of monitor.commands; the module has a Typer object `app`.
COMMANDS: dict[str, str] = {
    "run": "run",
    "gateway": "gateway",
    "feed": "feed",
    "record": "record",
    "demo": "demo",
    "simulate": "simulate",
    "convert": "convert",
    "replay": "replay",
    "backtest": "backtest",
    "whatif": "whatif",
    "compare": "compare",
    "dossier": "dossier",
    "topics": "topics",
    "alerts": "alerts",
    "drift": "drift",
    "deadletters": "deadletters",
    "disposition": "disposition",
    "pseudonym": "pseudonym",
    "train": "train",
    "retrain": "retrain",
    "evaluate": "evaluate",
    "engines": "engines",
    "compile": "compile",
    "models": "models",
    "bundle": "bundle",
    "labels": "labels",
    "rules": "rules",
    "check-config": "check_config",
}


#: What a volume that is full, or a quota that is used up, says.
FULL = (errno.ENOSPC, errno.EDQUOT)


def _refused(said: str) -> typer.Exit:
    typer.echo(f"tocsin: {said}", err=True)
    return typer.Exit(2)


class _Lazy(TyperGroup):
    # Any: Typer carries its own copy of Click, whose Context and Command have no public name.
    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"monitor.commands.{COMMANDS[cmd_name]}")
        command = typer.main.get_command(module.app)
        command.name = cmd_name
        # How the shell completes is said once, by `tocsin --help`.
        command.params = [one for one in command.params if one.name not in ("install_completion", "show_completion")]
        return command

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except StartupError as error:
            raise _refused(str(error)) from error
        except OSError as error:
            if error.errno not in FULL:
                raise
            where = f" ({error.filename})" if error.filename else ""
            raise _refused(f"{error.strerror}{where}: make room, and run the command again.") from error


app = typer.Typer(
    name="tocsin",
    cls=_Lazy,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="A streaming risk monitor for markets: Kafka topics in, explained alerts out.",
)


def _version(asked: bool) -> None:
    if asked:
        from monitor.recording_format import code_version

        typer.echo(f"tocsin {code_version()}")
        raise typer.Exit


@app.callback()
def main(
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """Tocsin reads news, calls, charts and ticks from Kafka and publishes alerts that carry their evidence."""
    # What a command says is for pipes; what is logged beside it is not (`monitor.logs` has more to say for a daemon).
    structlog.configure(logger_factory=lambda *_: structlog.PrintLogger(sys.stderr))


if __name__ == "__main__":
    app()
