"""`tocsin backtest`: a replay held against what is known to have happened."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
import typer

from monitor.commands.options import BundleFolder, duration_ns
from monitor.errors import StartupError

if TYPE_CHECKING:
    from monitor.replay_output import Replay

app = typer.Typer()
Severity = Literal["info", "warning", "critical"]
#: Whose messages a replay can leave out.
MODALITIES = ("ticks", "text", "calls", "chart", "audio")


@app.command()
def backtest(
    source: Annotated[Path, typer.Argument(help="The folder of a replay, or a recording, which is replayed first.")],
    out: Annotated[Path, typer.Option(help="Folder for backtest.json and report.html; of a recording its replay too.")],
    labels: Annotated[
        Path | None,
        typer.Option(help="CSV or Parquet of events; default: the recording's own labels.", show_default=False),
    ] = None,
    unknown_instruments: Annotated[
        Literal["refuse", "skip"],
        typer.Option(help="What to do with labels of instruments of which nothing was heard."),
    ] = "refuse",
    severity: Annotated[
        Severity, typer.Option(help="An alarm is an episode's first alert of at least this.")
    ] = "warning",
    match: Annotated[
        Literal["any", "own"], typer.Option(help="Whether an alarm of any typology catches an event, or of its own.")
    ] = "any",
    before: Annotated[str, typer.Option(help="How long before an event an alarm is the event's.")] = "1m",
    after: Annotated[str, typer.Option(help="How long after its end.")] = "1h",
    cell: Annotated[str, typer.Option(help="Length of a cell, in which the highest score counts.")] = "1h",
    k: Annotated[int, typer.Option("--k", min=1, help="Instruments that are looked at a day, for precision@k.")] = 5,
    analysts: Annotated[int, typer.Option(min=1, help="Who share the alarms.")] = 1,
    cost_false: Annotated[float, typer.Option(min=0, help="Cost of a false alarm, in any unit.")] = 1.0,
    cost_missed: Annotated[float, typer.Option(min=0, help="Cost of a missed event, in the same unit.")] = 100.0,
    label_delay: Annotated[
        str, typer.Option(help="How long after an event is over and public its label may choose a threshold.")
    ] = "1d",
    block: Annotated[
        Literal["auto", "hour", "day", "week"], typer.Option(help="What the bootstrap draws together.")
    ] = "auto",
    draws: Annotated[int, typer.Option(min=100, max=20_000, help="Draws of the bootstrap.")] = 1000,
    without: Annotated[
        list[str] | None,
        typer.Option(
            help="Replay again without ticks, text, calls, chart or audio, for an exact ablation; may be repeated."
        ),
    ] = None,
    bundle: BundleFolder = None,
) -> None:
    """Hold alarms against labelled events: recall, precision, lead, cost, beside detectors that know nothing.

    An event is caught if an alarm on one of its instruments could be known from --before its start to --after its
    end; every other alarm is false. Figures come with 95 % intervals of a block bootstrap. docs/backtest.md says what
    each one means.

    Examples:

    `tocsin simulate --seed 7 --out day`, then `tocsin backtest day --out tested`

    `tocsin replay day --out replayed`, then `tocsin backtest replayed --labels events.csv --out tested`

    `tocsin backtest day --out tested --without text --without calls`: what is it worth without words?
    """
    from rich.console import Console

    from engines.backtest.ablation import by_rerun
    from engines.backtest.field import choose_block
    from engines.backtest.judging import backtest as judge
    from engines.backtest.judging import tocsin
    from engines.backtest.results import Parameters
    from monitor import label_files
    from monitor.backtest import RESULT, is_replay, judged_by, labels_of, said, write
    from monitor.backtest_view import show
    from monitor.replay_output import Replay

    if (out / RESULT).exists():
        raise StartupError(f"{out} holds a backtest; remove it or name another folder.")
    parameters = Parameters(
        severity=severity,
        before_ns=duration_ns(before, "--before"),
        after_ns=duration_ns(after, "--after"),
        match=match,
        cell_ns=duration_ns(cell, "--cell"),
        k=k,
        analysts=analysts,
        cost_false=cost_false,
        cost_missed=cost_missed,
        label_delay_ns=duration_ns(label_delay, "--label-delay"),
        draws=draws,
    )
    if unknown := set(without or ()) - set(MODALITIES):
        raise StartupError(f"--without: expected {', '.join(MODALITIES)}, found {', '.join(sorted(unknown))}.")
    if not parameters.cell_ns:
        raise StartupError(f"--cell: expected a duration above 0, found {cell!r}.")
    if labels is not None:
        label_files.read(labels)  # what is wrong with it is said before hours of replay
    if is_replay(source):
        replay = Replay.open(source)
    else:
        replay = _replayed(source, out / "replay", bundle)
    found_labels = labels_of(replay, labels)
    whole = said(replay)
    events, tested = judged_by(replay, whole, found_labels, skip_unknown=unknown_instruments == "skip")
    chosen = choose_block(whole.heard) if block == "auto" else block
    parameters = msgspec.structs.replace(parameters, block=chosen)
    ablations = []
    if without:
        row, caught = tocsin(whole, events, parameters)
        for modality in dict.fromkeys(without):
            rest = _replayed(Path(tested.recording), out / f"without-{modality}", bundle, without=modality)
            ablations.append(by_rerun(modality, row, caught, *tocsin(said(rest, like=whole), events, parameters)))
    found = judge(whole, events, parameters, tested, ablations)
    console = Console(highlight=False)
    show(console, found)
    write(found, out)
    console.print(f"\n{out / RESULT}", soft_wrap=True)


def _replayed(recording: Path, out: Path, bundle: Path | None, *, without: str | None = None) -> Replay:
    """Replay a recording into a folder, all of it or all but one modality."""
    from monitor.commands.replay import _recording
    from monitor.replay_output import Replay
    from monitor.settings import load

    if out.exists():
        raise StartupError(f"{out} is there: judge it by `tocsin backtest {out}`, remove it, or name another folder.")
    asyncio.run(_recording(load(bundle=bundle), recording, out, without=without))
    return Replay.open(out)
