"""The gate as commands ask it: what a shadow's topics hold beside the champion's, judged by a policy."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import yaml
from rich.console import Console
from rich.table import Table

from engines import yaml_text
from engines.backtest.gate import Policy, checks
from engines.backtest.shadow import Shadowed, Side, shadowed
from engines.labels import Label
from monitor.backtest_view import show_comparison
from monitor.errors import StartupError
from monitor.numbers import estimate
from monitor.render import clock, plain
from monitor.settings import Settings
from monitor.shadow import Heard, heard, rang
from schemas.control import Check


class Judged(NamedTuple):
    """What a challenger's shadow was found to be, and every line of the gate."""

    shadowed: Shadowed
    gate: list[Check]

    @property
    def passed(self) -> bool:
        """Whether it may be promoted."""
        return passes(self.gate)


def passes(gate: Sequence[Check]) -> bool:
    """Return whether all lines of a gate were passed."""
    return all(check.passed for check in gate)


def read_policy(path: Path | None) -> Policy:
    """Return the policy of a YAML file, the usual one where there is none.

    Raises
    ------
    StartupError
        It cannot be read, or says what no policy says.
    """
    if path is None:
        return Policy()
    try:
        return msgspec.convert(yaml_text.load(path.read_text(encoding="utf-8")) or {}, Policy)
    except (OSError, ValueError, yaml.YAMLError) as error:
        told = str(error).replace("\n", " ")
        names = ", ".join(Policy.__struct_fields__)
        raise StartupError(f"{path} holds no policy ({told}): expected a mapping of {names}.") from error


def judged(
    settings: Settings, name: str, policy: Policy, labels: Sequence[Label], from_ns: int = 0, to_ns: int = 0
) -> Judged:
    """Hold the shadow of the model ``name`` against the champion, over the time that both have heard.

    Parameters
    ----------
    labels
        What is known to have happened, such as `tocsin disposition export` writes.
    from_ns, to_ns
        Bounds of the time that is judged, 0 for none.

    Raises
    ------
    StartupError
        Nothing was heard by one of them, or at no time by both.
    """
    shadow = settings.model_copy(update={"shadow": name})
    champion = settings.model_copy(update={"shadow": ""})
    mine, theirs = asyncio.run(_both(champion, shadow))
    begin_ns = max(mine.first_ns, theirs.first_ns, from_ns)
    end_ns = min(mine.last_ns, theirs.last_ns, to_ns - 1 if to_ns else theirs.last_ns) + 1
    if end_ns <= begin_ns:
        raise StartupError(
            f"There is no time that both heard: the champion {_span(mine)}, {name} {_span(theirs)}; wait, or ask for"
            " other bounds."
        )
    found = shadowed(
        asyncio.run(rang(champion, begin_ns, end_ns)),
        asyncio.run(rang(shadow, begin_ns, end_ns)),
        labels,
        from_ns=begin_ns,
        to_ns=end_ns,
        live_ns=theirs.began_ns,
        least=policy.severity,
    )
    return Judged(found, checks(found, policy))


async def _both(champion: Settings, challenger: Settings) -> tuple[Heard, Heard]:
    return await heard(champion), await heard(challenger)


def _span(one: Heard) -> str:
    return f"from {clock(one.first_ns)} to {clock(one.last_ns)}"


def show_judged(console: Console, found: Judged, name: str) -> None:
    """Print champion and challenger side by side, the episodes of only one of them, and the gate."""
    both = found.shadowed
    console.print(
        f"{both.days:.2f} days, {clock(both.from_ns)} to {clock(both.to_ns)} UTC; episodes of at least {both.severity};"
        f" {both.harmful} harmful labels, {both.benign} benign",
        soft_wrap=True,
    )
    table = Table("", "champion", name, box=None, pad_edge=False)
    for what, mine, theirs in zip(_ROWS, _told(both.champion), _told(both.challenger), strict=True):
        table.add_row(what, *map(plain, (mine, theirs)))
    console.print(table)
    show_comparison(console, both.episodes, ("champion", name))
    show_gate(console, found.gate)


_ROWS = ("bundle", "computed by", "alarms", "a day", "not judged", "recall", "precision", "log loss", "latency p99")


def _told(side: Side) -> tuple[str, ...]:
    wait_s = side.latency_p99_s
    return (
        ", ".join(side.bundles),
        ", ".join(side.backends),
        f"{side.alarms:,}",
        f"{side.alarms_a_day:.2f}",
        f"{side.unjudged:,}",
        estimate(side.recall, ".3f"),
        estimate(side.precision, ".3f"),
        estimate(side.log_loss, ".3f"),
        "–" if wait_s is None else f"{wait_s * 1e3:,.0f} ms of {side.live_alerts:,} alerts",
    )


def show_gate(console: Console, gate: Sequence[Check]) -> None:
    """Print every line of a gate."""
    for check in gate:
        console.print("✓" if check.passed else "✗", plain(f"{check.name}: {check.told}"), soft_wrap=True)
