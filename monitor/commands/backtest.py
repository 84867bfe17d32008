"""`tocsin backtest`: a replay held against what is known to have happened."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec
import typer

from monitor.commands.options import TradingDay, WhereDamaged
from monitor.errors import StartupError

app = typer.Typer()
Severity = Literal["info", "warning", "critical"]


@app.command()
def backtest(
    source: Annotated[
        str, typer.Argument(help="The folder of a replay, or a recording (folder or URL), which is replayed first.")
    ],
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
    trading_day: TradingDay = None,
    draws: Annotated[int, typer.Option(min=100, max=20_000, help="Draws of the bootstrap.")] = 1000,
    without: Annotated[
        list[str] | None,
        typer.Option(
            help="Replay again without ticks, text, calls, chart or audio, for an exact ablation; may be repeated."
        ),
    ] = None,
    begin: Annotated[
        str | None, typer.Option("--from", help="Of a recording: first moment that counts, as `tocsin replay` has it.")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", help="Of a recording: the moment before which to end.")] = None,
    warm_up: Annotated[str, typer.Option(help="Of a recording: what is applied before --from to build state.")] = "1d",
    instruments: Annotated[str | None, typer.Option(help="Of a recording: only these, comma-separated.")] = None,
    bundle: Annotated[
        list[Path] | None,
        typer.Option(
            help="Of a recording, or of --without: another model bundle [TOCSIN_BUNDLE]; of journals one for each that"
            " they name.",
            show_default=False,
        ),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="Of a recording, or of --without: settings in TOML or YAML.", show_default=False)
    ] = None,
    allow_overlap: Annotated[
        bool,
        typer.Option("--allow-overlap", help="Of a recording: use a bundle that was trained on times that are tested."),
    ] = False,
    damaged: WhereDamaged = "refuse",
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
    from engines.backtest.ablation import by_rerun
    from engines.backtest.field import choose_block, trading_day_ns
    from engines.backtest.judging import backtest as judge
    from engines.backtest.judging import tocsin
    from engines.backtest.results import Parameters
    from monitor import label_files, report
    from monitor.backtest import RESULT, gaps_of, judged_by, labels_of, recording_of, said, write
    from monitor.backtest_view import paper, show
    from monitor.commands.replay import replay
    from monitor.commands.replay_job import progress
    from monitor.replay_output import Replay, is_replay
    from monitor.rerun import TOPICS, rerun
    from monitor.settings import load
    from monitor.when import duration_ns

    bundles = bundle or []
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
    day_ns = duration_ns(trading_day, "--trading-day") if trading_day else 0
    if unknown := set(without or ()) - set(TOPICS):
        raise StartupError(f"--without: expected {', '.join(TOPICS)}, found {', '.join(sorted(unknown))}.")
    if not parameters.cell_ns:
        raise StartupError(f"--cell: expected a duration above 0, found {cell!r}.")
    if labels is not None:
        label_files.read(labels)  # what is wrong with it is said before hours of replay
    if not is_replay(Path(source)):
        folder = out / "replay"
        if folder.exists():
            raise StartupError(f"{folder} is there: judge it by `tocsin backtest {folder}`, or name another --out.")
        replay(
            source,
            out=folder,
            begin=begin,
            end=end,
            warm_up=warm_up,
            instruments=instruments,
            bundle=bundle,
            config=config,
            allow_overlap=allow_overlap,
            damaged=damaged,
        )
        source = str(folder)
    elif begin or end or instruments or ((bundle or config) and not without):
        raise StartupError(
            f"{source} is a replay already: --from, --to, --instruments, --bundle and --config are of a recording "
            "(the last two of --without too)."
        )
    replayed = Replay.open(Path(source))
    recording = recording_of(replayed)
    known = labels_of(replayed, recording, labels)
    whole = said(replayed)
    skip = unknown_instruments == "skip"
    events, outside, tested = judged_by(replayed, whole, known, skip_unknown=skip, gaps=gaps_of(recording))
    parameters = msgspec.structs.replace(
        parameters,
        block=choose_block(whole.heard) if block == "auto" else block,
        trading_day_ns=day_ns or trading_day_ns(whole.heard),
    )
    ablations = []
    if without:
        if recording is None:
            raise StartupError(f"--without replays again, and {tested.recording} is not there any more as it was.")
        row, caught = tocsin(whole, events, parameters, outside)
        for modality in dict.fromkeys(without):
            with progress(f"replaying without {modality}") as shown:
                rest = rerun(
                    load(config, bundle=bundles[0] if bundles else None),
                    recording,
                    replayed,
                    out / f"without-{modality}",
                    without=modality,
                    others=bundles[1:],
                    show=shown,
                )
            other = tocsin(said(rest, like=whole), events, parameters, outside)
            ablations.append(by_rerun(modality, row, caught, *other))
    found = judge(whole, events, parameters, tested, ablations, outside)
    console = paper()
    show(console, found)
    page = out / "report.html"
    # The result last: what is there then is whole, and until then the same --out may be named again.
    report.write(found, replayed, recording, page)
    write(found, out)
    console.print(f"\n{out / RESULT}\n{page}", soft_wrap=True)
