"""What a backtest, a what-if and a comparison print."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from engines.backtest.comparison import Comparison
from engines.backtest.results import Backtest, Contender, CostCurve, Opened
from engines.backtest.whatif import Priced
from monitor.backtest import left_out
from monitor.numbers import duration, interval, money, number, plural, rate
from monitor.render import clock

#: Rows of a list that are printed; all are in the JSON.
_SHOWN = 10


def paper() -> Console:
    """Return what is printed on: names of others are shown letter for letter."""
    return Console(highlight=False, markup=False)


def show(console: Console, found: Backtest) -> None:
    """Print what a backtest found: contenders, days, costs, ablations, what was missed, and every stamp."""
    tested = found.tested
    console.print(
        f"{plural(tested.labels, 'event')} ({tested.benign} more only look bad) on "
        f"{plural(tested.instruments, 'instrument')}, "
        f"{clock(tested.from_ns)} to {clock(tested.to_ns)} UTC; {found.cells:,} cells, {found.positive_cells} of them "
        "an event's",
        soft_wrap=True,
    )
    for sentence in _warnings(found):
        console.print(Text(sentence, style="yellow"), soft_wrap=True)
    _print(console, _contenders(found.contenders))
    console.print(_rates(found.contenders[0], found.parameters.analysts), soft_wrap=True)
    if told := _intervals(found.contenders[0]):
        console.print(told, soft_wrap=True)
    k = found.days[0].k if found.days else found.parameters.k
    reached, ceiling = (number(one.value, ".2f") for one in (found.precision_at_k, found.ceiling_at_k))
    console.print(f"precision@{k} on days with an event: {reached}, of at most {ceiling}", soft_wrap=True)
    if found.cost_curves:
        _costs(console, found, found.cost_curves[0])
    if found.ablations:
        table = _table("without", "by", "alarms", "fewer", "false", "recall", "precision", "events lost")
        for one in found.ablations:
            lost = f"{len(one.lost)}" + (f", {len(one.gained)} gained" if one.gained else "")
            table.add_row(
                one.modality,
                one.how,
                f"{one.episodes:,}",
                f"{one.fallen:,}",
                f"{one.false:,}",
                number(one.recall.value, ".2f"),
                number(one.precision.value, ".2f"),
                lost,
            )
        _print(console, table)
    if found.missed:
        table = _table("missed", "onset (UTC)", "instrument")
        for label in found.missed[:_SHOWN]:
            table.add_row(label.typology, clock(label.onset_ns), _first(label.instruments))
        _print(console, table)
        _more(console, len(found.missed), "missed")


def _warnings(found: Backtest) -> list[str]:
    tested = found.tested
    told = [*tested.stamps, *found.notes, *left_out(tested)]
    if tested.unknown_instruments:
        names = plural(len(tested.unknown_instruments), "instrument")
        skipped = plural(tested.labels_skipped, "label")
        told.append(f"Left out: {skipped} and {names} of labels of which nothing was heard.")
    if tested.labels_outside:
        told.append(f"{plural(tested.labels_outside, 'label')} outside what was tested: not judged.")
    return told


def _contenders(rows: Sequence[Contender]) -> Table:
    table = _table("", "alarms", "recall", "precision", "PR-AUC", "NAB", "delay", "lead", "cost")
    for one in rows:
        table.add_row(
            Text(one.name, style="bold" if one.kind == "tocsin" else "dim" if one.kind != "typology" else ""),
            f"{one.episodes:,.0f}",
            number(one.recall.value, ".2f"),
            number(one.precision.value, ".2f"),
            number(one.pr_auc.value, ".2f"),
            number(one.nab.value, "z.0f"),
            duration(one.delay_median_s.value, signed=True),
            duration(one.lead_median_s.value, signed=True),
            money(one.cost.value),
        )
    return table


def _rates(one: Contender, analysts: int) -> str:
    a_day, each, share = (
        rate(held.value) for held in (one.alerts_per_day, one.alerts_per_instrument_day, one.alerts_per_analyst_day)
    )
    shared = f", {share} an analyst" if analysts > 1 else ""
    return f"tocsin: {a_day} alarms a day, {each} an instrument{shared}; {one.informed:,} more episodes only inform"


def _intervals(one: Contender) -> str:
    figures = {"recall": one.recall, "precision": one.precision, "PR-AUC": one.pr_auc}
    told = [f"{name} {interval(found)}" for name, found in figures.items() if found.low is not None]
    return f"tocsin, 95 % of draws: {', '.join(told)}" if told else ""


def _costs(console: Console, found: Backtest, curve: CostCurve) -> None:
    console.print(
        f"cost today {money(curve.today.cost)} (flag nothing {money(curve.flag_nothing)}, flag all "
        f"{money(curve.flag_all)}); cheapest in hindsight {money(curve.cheapest.cost)}, at an urgency of "
        f"{curve.cheapest.threshold:g}",
        soft_wrap=True,
    )
    walked = found.walk_forward
    if walked is not None:
        chosen = sum(one.chosen for one in walked.choices)
        console.print(
            f"chosen day by day on what was known: {money(walked.cost)}"
            if chosen
            else "no threshold could be chosen on the past: too few labels were known in time",
            soft_wrap=True,
        )


def show_prices(console: Console, head: str, prices: Sequence[Priced]) -> None:
    """Print what thresholds would have raised."""
    labelled = any(one.caught is not None for one in prices)
    columns = [head, "episodes", "critical", "a day", "an instrument"]
    followed = any(one.market is not None for one in prices)
    table = _table(
        *columns, *(["market-wide"] if followed else []), *(["caught", "missed", "false", "cost"] if labelled else [])
    )
    for one in prices:
        cells = [
            f"{one.threshold:g}" + (" today" if one.today else ""),
            f"{one.episodes:,}",
            f"{one.critical:,}",
            f"{one.a_day:,.2f}",
            f"{one.an_instrument_day:,.3f}",
        ]
        if followed:
            cells.append(f"{one.market:,}")
        if labelled:
            cells += [f"{one.caught:,}", f"{one.missed:,}", f"{one.false:,}", f"{money(one.cost)}"]
        table.add_row(*cells, style="bold" if one.today else "")
    _print(console, table)


def show_comparison(console: Console, found: Comparison, names: tuple[str, str] = ("A", "B")) -> None:
    """Print which episodes two have in common, and those that only one raised."""
    a, b = names
    table = _table("", a, b, "both", f"only {a}", f"only {b}", "severity", f"{b} later")
    for one in found.typologies:
        table.add_row(
            one.typology,
            *(f"{count:,}" for count in (one.a, one.b, one.both, one.only_a, one.only_b, one.severity)),
            duration(one.shift_median_s, signed=True),
        )
    _print(console, table)
    for name, alone in ((a, found.only_a), (b, found.only_b)):
        if alone:
            _alone(console, f"only {name}", alone)


def _alone(console: Console, title: str, alone: Sequence[Opened]) -> None:
    table = _table(title, "known (UTC)", "instrument", "severity", "score", "episode")
    for one in alone[:_SHOWN]:
        table.add_row(
            one.typology, clock(one.available_ns), one.instrument, one.severity, f"{one.score:.3f}", one.episode_id[:12]
        )
    _print(console, table)
    _more(console, len(alone), title)


def _more(console: Console, count: int, what: str) -> None:
    if count > _SHOWN:
        console.print(f"… and {count - _SHOWN:,} more that are {what}: the JSON has all")


def _table(first: str, *others: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column(first, no_wrap=True)
    words = {"instrument", "onset (UTC)", "known (UTC)", "severity", "episode", "by"}
    for name in others:
        table.add_column(name, justify="left" if name in words else "right", no_wrap=True)
    return table


def _print(console: Console, table: Table) -> None:
    console.print()
    console.print(table)
    console.print()


def _first(instruments: Sequence[str]) -> str:
    first, *others = instruments
    return f"{first} and {len(others)} more" if others else first
