"""Contenders: Tocsin, each of its typologies, and three detectors that know nothing, judged alike.

A **random** detector rings as often as Tocsin, at times and instruments drawn from all that was heard; an **always**
firing one rings once in every cell; the third flags **nothing**. What does not beat them is worth nothing.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import numpy.typing as npt

from engines.backtest.bootstrap import average_precision, interval
from engines.backtest.cells import are_instruments, within
from engines.backtest.field import NEVER, Field, Rung, first_within
from engines.backtest.ranking import BINS, bin_of
from engines.backtest.results import NOTHING, Contender, Estimate, Kind

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
#: Alarms and cells that random detectors may draw in all.
_MOST = 4_000_000
#: Random detectors.
_DRAWS = 200


def row(
    field: Field,
    rung: Rung,
    score: Floats | None,
    *,
    name: str,
    kind: Kind,
    title: str = "",
    informed: int = 0,
    typologies: Collection[str] = (),
) -> Contender:
    """Return what a contender reached.

    Parameters
    ----------
    score
        What it says of each of the field's cells, (cells,); None where it says nothing of them.
    typologies
        Which labels it may catch by their own typology.
    """
    draw, parameters = field.bootstrap, field.parameters
    alarm_block = field.block(rung.ts)
    alarms, hits = draw.per_block(alarm_block), draw.per_block(alarm_block, rung.hit)
    labels = draw.per_block(field.label_block, field.weight)
    caught = draw.per_block(field.label_block, field.weight * rung.caught)
    looked = np.array([label.typology in typologies for label in field.labels], np.bool_)
    days, instrument_days = field.day_share
    at_instruments = draw.per_block(alarm_block, are_instruments(rung.instrument, field.number))
    timed, led = np.isfinite(rung.delay_s), np.isfinite(rung.lead_s)
    delays = draw.quantiles(rung.delay_s[timed], field.label_block[timed], [0.5, 0.1, 0.9])
    leads = draw.quantiles(rung.lead_s[led], field.label_block[led], [0.5, 0.1])
    lost = parameters.cost_false * (alarms - hits) + parameters.cost_missed * (labels - caught)
    pr_auc = brier = ece = NOTHING
    if score is not None and len(field.cells):
        truth = field.cells.truth
        pr_auc = draw.average_precision(truth, score, field.cell_block)
        brier = draw.ratio(draw.per_block(field.cell_block, (truth - score) ** 2), draw.per_block(field.cell_block))
        ece = draw.binned_gap(truth - score, field.cell_block, bin_of(score), BINS)
    return Contender(
        name=name,
        kind=kind,
        title=title,
        episodes=len(rung.ts),
        hits=int(rung.hit.sum()),
        informed=informed,
        recall=draw.ratio(caught, labels),
        own_recall=draw.ratio(
            draw.per_block(field.label_block, field.weight * (rung.own & looked)),
            draw.per_block(field.label_block, field.weight * looked),
        ),
        precision=draw.ratio(hits, alarms),
        alerts_per_day=draw.ratio(alarms, days),
        alerts_per_instrument_day=draw.ratio(at_instruments, instrument_days),
        alerts_per_analyst_day=draw.ratio(alarms, days, 1 / parameters.analysts),
        lead_median_s=leads[0],
        lead_p10_s=leads[1],
        delay_median_s=delays[0],
        delay_p10_s=delays[1],
        delay_p90_s=delays[2],
        pr_auc=pr_auc,
        brier=brier,
        ece=ece,
        nab=_nab(field, rung),
        cost=draw.ratio(lost, np.full(field.blocks, 1 / field.blocks)),
    )


def always(field: Field) -> Contender:
    """Return the detector that rings once in every cell."""
    cells, labels = field.cells, len(field.labels)
    caught = np.zeros(labels, np.bool_)
    caught[field.windows.label] = True
    never = np.full(labels, np.nan)
    rung = Rung(cells.instrument, cells.first, cells.truth, caught, np.zeros(labels, np.bool_), never, never)
    return row(field, rung, np.ones(len(cells)), name="always", kind="always", title="Rings in every cell")


def nothing(field: Field) -> Contender:
    """Return the detector that never rings."""
    none, labels = np.empty(0, np.int64), len(field.labels)
    never, no = np.full(labels, np.nan), np.zeros(labels, np.bool_)
    rung = Rung(none, none, np.empty(0, np.bool_), no, no, never, never)
    return row(field, rung, np.zeros(len(field.cells)), name="nothing", kind="nothing", title="Never rings")


def chance(field: Field, alarms: int) -> Contender:
    """Return the mean of many detectors that ring ``alarms`` times at random, with the middle 95 % of them."""
    rng = np.random.default_rng(field.parameters.seed)
    draws = max(20, min(_DRAWS, _MOST // max(alarms, 1)))
    instrument, start = field.heard.periods(field.parameters.cell_ns)
    first_ns = np.maximum(start, field.heard.from_ns)
    length_ns = np.minimum(start + field.parameters.cell_ns, field.heard.to_ns) - first_ns
    # One moment is as likely as another: a period that the range's edge cuts is less so than a whole one.
    behind_ns = np.cumsum(length_ns.astype(np.float64))
    drawn = rng.random((draws, alarms)) * (behind_ns[-1] if len(start) else 0.0)
    at = np.minimum(np.searchsorted(behind_ns, drawn, "right"), len(start) - 1)
    ts = first_ns[at] + np.clip(drawn - behind_ns[at] + length_ns[at], 0, length_ns[at] - 1).astype(np.int64)
    of = instrument[at]
    own = within(field.windows, of.ravel(), ts.ravel())
    hits = own.reshape(draws, alarms).sum(1)
    # Of those that rang where a label's outside of the range would be, nothing is said.
    counted = (own | ~field.strays(of.ravel(), ts.ravel())).reshape(draws, alarms).sum(1)
    recall, delay_s, lead_s, scores, missed = np.full((5, draws), np.nan)
    for number in range(draws):
        order = np.lexsort((ts[number], of[number]))
        first = first_within(field.windows, len(field.labels), of[number][order], ts[number][order])
        caught = first != NEVER
        missed[number] = len(field.labels) - caught.sum()
        if len(field.labels):
            recall[number] = caught.mean()
        if caught.any():
            delay_s[number] = np.median((first[caught] - field.onset[caught]) / 1e9)
        if (led := caught & (field.public > 0)).any():
            lead_s[number] = np.median((field.public[led] - first[led]) / 1e9)
        scores[number] = field.rows.score(of[number], ts[number])
    cost = field.parameters.cost_false * (counted - hits) + field.parameters.cost_missed * missed
    days, instrument_days = (float(share.sum()) for share in field.day_share)
    at_instruments = float(are_instruments(of, field.number).sum(1).mean())
    cells = field.cells
    areas = [
        average_precision(cells.truth, rng.random(len(cells)))
        for _ in range(max(5, min(draws, _MOST // max(len(cells), 1))))
    ]
    return Contender(
        name="random",
        kind="random",
        title="Rings as often, at random",
        episodes=alarms,
        hits=float(hits.mean()),
        recall=_middle(recall),
        precision=_middle(hits / np.maximum(counted, 1)) if alarms else NOTHING,
        alerts_per_day=Estimate(alarms / days if days else None),
        alerts_per_instrument_day=Estimate(at_instruments / instrument_days if instrument_days else None),
        alerts_per_analyst_day=Estimate(alarms / days / field.parameters.analysts if days else None),
        lead_median_s=_middle(lead_s),
        delay_median_s=_middle(delay_s),
        pr_auc=_middle(np.array([np.nan if area is None else area for area in areas])),
        nab=_middle(scores),
        cost=_middle(cost),
    )


def _middle(drawn: Floats) -> Estimate:
    finite = drawn[np.isfinite(drawn)]
    return interval(float(finite.mean()), finite) if len(finite) else NOTHING


def _nab(field: Field, rung: Rung) -> Estimate:
    """Return NAB's score, every window and every alarm outside in its block."""
    raw, windows = np.zeros(field.blocks), np.zeros(field.blocks)
    for part in field.rows.parts(rung.instrument, rung.ts):
        won_at, lost_at = field.block(part.window_ns), field.block(part.outside_ns)
        raw += field.bootstrap.per_block(won_at, part.won) + field.bootstrap.per_block(lost_at, part.lost)
        windows += field.bootstrap.per_block(won_at)
    # 100 * (raw + windows) / (2 * windows), see `nab.normalised`.
    return field.bootstrap.ratio(raw, windows, 50, 50)
