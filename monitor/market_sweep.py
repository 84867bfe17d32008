"""The market's stage on what another threshold would have told it of: no model runs, and nothing is guessed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence

from agents.flow import Arrival, Item
from agents.market import COUNTS, market
from agents.market_state import MarketState
from engines.backtest.field import Field
from engines.backtest.matching import alarms
from engines.backtest.sweep import Sweep
from engines.backtest.whatif import Rung, rung
from engines.typologies import TypologySpec
from engines.typologies.cross_product import CrossProductConfig
from engines.typologies.market_wide import CrowdConfig
from schemas.alerts import Alert, Provenance, Subject
from schemas.journal import Clock
from schemas.records import Opening
from schemas.topics import MARKET, MARKET_INPUTS

SECOND_NS = 10**9


def counts(spec: TypologySpec) -> bool:
    """Tell whether the market's stage counts what a typology opens."""
    return spec.name == COUNTS


def crowds(field: Field, sweep: Sweep, head: str, threshold: float, *, until_ns: int) -> list[Rung]:
    """Return the market's episodes within the tested range that follow from what a threshold of a head opens.

    What it opens in the warm-up is heard too: the stage learns from it what is usual.

    Parameters
    ----------
    until_ns
        The last clock of the replay, ns.
    """
    spec = sweep.specs[head]
    opened = rung(field, sweep, head, threshold, warm_up=True)
    found = alarms(asyncio.run(_alerts(_heard(opened, spec, until_ns), sweep.specs)))
    return [
        Rung(instrument=one.instrument, opened_ns=one.opened_ns, available_ns=one.available_ns, score=one.score)
        for one in found
        if field.heard.from_ns <= one.available_ns < field.heard.to_ns
    ]


async def _alerts(heard: AsyncIterator[Item], specs: Mapping[str, TypologySpec]) -> list[Alert]:
    state: dict[str, MarketState] = {}
    told = market(
        heard,
        state,
        crowd=CrowdConfig(),
        crossing=CrossProductConfig(),
        product=str,
        specs=specs,
        subject=lambda key: Subject(instrument=key),
        provenance=Provenance(code_version="", config=""),
    )
    return [item async for item in told if isinstance(item, Alert)]


async def _heard(opened: Sequence[Rung], spec: TypologySpec, until_ns: int) -> AsyncIterator[Item]:
    """Yield the openings in canonical order, the clock before each as a replay has it."""
    clock_ns = 0
    for number, one in enumerate(sorted(opened, key=lambda one: (one.available_ns, one.instrument))):
        second_ns = one.available_ns - one.available_ns % SECOND_NS
        if second_ns > clock_ns:
            clock_ns = second_ns
            yield Clock(clock_ns)
        opening = Opening(
            ts_event=one.opened_ns,
            ts_available=one.available_ns,
            instrument=one.instrument,
            typology=f"{spec.name}@{spec.version}",
            episode_id=f"{one.instrument} {one.opened_ns}",
            severity=spec.opens_as,
            score=one.score,
        )
        yield Arrival(MARKET_INPUTS[0], 0, number, MARKET, one.available_ns, number, opening, bytes(32))
    if (end_ns := until_ns - until_ns % SECOND_NS) > clock_ns:
        yield Clock(end_ns)
