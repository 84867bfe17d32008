"""`tocsin whatif`: a threshold or a budget swept over what a replay kept."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import typer

from monitor.commands.options import TradingDay
from monitor.errors import StartupError

app = typer.Typer()
#: Steps that a sweep may have: a table of more says nothing.
_MOST = 1_000
_DAYS = {"hour": 1 / 24, "day": 1.0, "week": 7.0}


@app.command()
def whatif(
    replay: Annotated[Path, typer.Argument(help="The folder of a replay.")],
    head: Annotated[str, typer.Option(help="Whose threshold: pump_and_dump, anomaly, adverse_text, elevated_risk, …")],
    thresholds: Annotated[
        str | None, typer.Option(help="FIRST:LAST:STEP, or one threshold.", show_default=False)
    ] = None,
    budget: Annotated[
        list[str] | None,
        typer.Option(help="Episodes that a desk can bear, such as 5/day; may be repeated.", show_default=False),
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="CSV or Parquet of events; default: the recording's own.", show_default=False)
    ] = None,
    unknown_instruments: Annotated[
        Literal["refuse", "skip"],
        typer.Option(help="What to do with labels of instruments of which nothing was heard."),
    ] = "refuse",
    before: Annotated[str, typer.Option(help="How long before an event an episode is the event's.")] = "1m",
    after: Annotated[str, typer.Option(help="How long after its end.")] = "1h",
    cost_false: Annotated[float, typer.Option(min=0, help="Cost of a false episode, in any unit.")] = 1.0,
    cost_missed: Annotated[float, typer.Option(min=0, help="Cost of a missed event, in the same unit.")] = 100.0,
    trading_day: TradingDay = None,
    episodes: Annotated[bool, typer.Option("--episodes", help="With --json: each threshold's episodes too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of a table.")] = False,
) -> None:
    """Tell what other thresholds of a typology would have raised, without running a model again.

    A replay keeps the scores that triage judged; they are stepped anew with each threshold, so that the episodes are
    those of a replay with that threshold. A budget is turned into the lowest threshold that keeps it. Of market_anomaly
    the market's stage is run anew too, on what each threshold opens.

    Examples:

    `tocsin replay day --out replayed`, then `tocsin whatif replayed --head pump_and_dump --thresholds 0.4:0.9:0.05`

    `tocsin whatif replayed --head anomaly --budget 1/day --budget 5/day --labels events.csv`
    """
    from engines.backtest.field import Field, trading_day_ns
    from engines.backtest.results import Parameters
    from engines.backtest.whatif import Answer, budgeted, price, rung
    from monitor.backtest import judged_by, labels_of, recording_of, said
    from monitor.backtest_view import paper, show_prices
    from monitor.label_files import LabelError
    from monitor.market_sweep import counts, crowds
    from monitor.replay_output import Replay
    from monitor.when import duration_ns

    if (thresholds is None) == (not budget):
        raise StartupError("Expected either --thresholds FIRST:LAST:STEP or --budget N/day.")
    tried = _thresholds(thresholds) if thresholds is not None else []
    allowed = [_a_day(text) for text in budget or []]
    parameters = Parameters(
        before_ns=duration_ns(before, "--before"),
        after_ns=duration_ns(after, "--after"),
        cost_false=cost_false,
        cost_missed=cost_missed,
        draws=0,
    )
    day_ns = duration_ns(trading_day, "--trading-day") if trading_day else 0
    opened = Replay.open(replay)
    specs, floor = opened.manifest.specs, opened.manifest.track_floor
    if head not in specs:
        raise StartupError(f"--head: expected one of {', '.join(sorted(specs))}, found {head!r}.")
    if low := [one for one in tried if one < floor]:
        raise StartupError(
            f"--thresholds: this replay kept scores from {floor:g} up, found {low[0]:g}; begin there or higher."
        )
    found = said(opened)
    try:
        known = labels_of(opened, recording_of(opened), labels)
        judges = judged_by(opened, found, known, skip_unknown=unknown_instruments == "skip")
        events, outside = judges.within, judges.outside
    except LabelError as error:
        if labels is not None:
            raise
        typer.echo(f"Nothing is said of caught and missed: {error}", err=True)
        events, outside = None, []
    parameters = msgspec.structs.replace(parameters, trading_day_ns=day_ns or trading_day_ns(found.heard))
    field = Field(events or [], found.heard, parameters, outside)
    if head not in found.sweep.moments:
        raise StartupError(f"{replay} kept no score of {head}: nothing of it reached {floor:g}, so no threshold rings.")
    kept = [budgeted(field, found.sweep, head, a_day) for a_day in allowed]
    asked = sorted({*tried, *kept, specs[head].open})
    prices = [price(field, found.sweep, head, one, labelled=events is not None) for one in asked]
    # Of some instruments a replay does not run the market's stage.
    followed = counts(specs[head]) and not opened.manifest.instruments
    market = [crowds(field, found.sweep, head, one, until_ns=opened.manifest.until_ns) for one in asked if followed]
    if followed:
        prices = [msgspec.structs.replace(one, market=len(its)) for one, its in zip(prices, market, strict=True)]
    if as_json:
        raised = [rung(field, found.sweep, head, one) for one in asked] if episodes else []
        answer = Answer(head=head, prices=prices, episodes=raised, market=market if episodes else [])
        typer.echo(msgspec.json.encode(answer))
        return
    console = paper()
    for text, a_day, threshold in zip(budget or [], allowed, kept, strict=True):
        opens = next(one.a_day for one in prices if one.threshold == threshold)
        told = "is the lowest threshold that keeps it" if opens <= a_day else "is the highest there is, and too low"
        console.print(f"{text}: {threshold:g} {told}")
    show_prices(console, head, prices)


def _thresholds(text: str) -> list[float]:
    from engines.backtest.whatif import steps

    try:
        first, last, step = map(float, text.split(":")) if ":" in text else (float(text), float(text), 1.0)
    except ValueError:
        raise StartupError(f"--thresholds: expected FIRST:LAST:STEP, such as 0.4:0.9:0.05, found {text!r}.") from None
    if not (0 < first <= last <= 1 and step >= 1e-6):
        raise StartupError(f"--thresholds: expected 0 < FIRST <= LAST <= 1 and STEP > 0, found {text!r}.")
    if (last - first) / step > _MOST:
        raise StartupError(f"--thresholds: expected {_MOST:,} steps or fewer, found {text!r}; take wider ones.")
    return steps(first, last, step)


def _a_day(text: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)/(hour|day|week)", text)
    if found is None:
        raise StartupError(f"--budget: expected a number an hour, day or week, such as 5/day, found {text!r}.")
    return float(found[1]) / _DAYS[found[2]]
