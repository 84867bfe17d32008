"""A backtest: alarms of a replay and what it kept of scores, held against labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engines.backtest import contenders, costs
from engines.backtest.ablation import by_shares
from engines.backtest.cells import DAY_NS, Heard, highest
from engines.backtest.field import Field
from engines.backtest.matching import Verdict, alarms, reaches
from engines.backtest.ranking import RINGS, calibration, curve, ring, top_k, urgencies
from engines.backtest.results import Ablation, Backtest, Contender, Day, Estimate, Opened, Parameters, Rate, Tested
from engines.backtest.sweep import Sweep
from engines.labels import Label
from schemas.alerts import Alert, Severity

Floats = npt.NDArray[np.float64]
HOUR_NS = DAY_NS // 24


@dataclass(frozen=True, slots=True, eq=False)
class Said:
    """What a replay said: its alerts, what was heard of within the tested range, and the moments it kept, by head.

    Alerts of the warm-up are among them: an episode that rang then does not ring anew in the tested range.
    """

    alerts: Sequence[Alert]
    heard: Heard
    sweep: Sweep


@dataclass(frozen=True, slots=True, eq=False)
class _Tocsin:
    """Tocsin's own alarms, judged: what all parts of the result go back to."""

    alarms: list[Opened]
    verdict: Verdict
    rings: Mapping[str, float]
    scores: Mapping[str, Floats]
    urgency: Floats

    @property
    def caught(self) -> set[str]:
        return {catch.label.event_id for catch in self.verdict.catches}


def backtest(
    said: Said,
    labels: Sequence[Label],
    parameters: Parameters,
    tested: Tested,
    ablations: Sequence[Ablation] = (),
    outside: Sequence[Label] = (),
) -> Backtest:
    """Return everything that is to be found.

    Parameters
    ----------
    labels
        Those within the tested range, on instruments of which something was heard.
    ablations
        Those that were found by a rerun; a modality that is among them is not guessed by shares.
    outside
        Labels outside the tested range: alarms that are a harmful one's are set aside.
    """
    field = Field(labels, said.heard, parameters, outside)
    own = _tocsin(field, said)
    heads = sorted(own.scores)
    truth, draw = field.cells.truth, field.bootstrap
    names = {head: said.sweep.specs[head].name for head in heads}
    alone = {head: costs.tried(field, said.sweep, head, own.rings[head]) for head in heads}
    tried = costs.together(list(alone.values())) if heads else []
    days = _days(field, said, own)
    guessed = by_shares(
        field,
        own.alarms,
        {alert.alert_id: alert for alert in said.alerts},
        {said.sweep.specs[head].name: score for head, score in own.rings.items()},
        own.caught,
    )
    rerun = {one.modality for one in ablations}
    return Backtest(
        tested=tested,
        parameters=parameters,
        days_covered=float(field.day_share[0].sum()),
        cells=len(field.cells),
        positive_cells=int(truth.sum()),
        base_rate=float(truth.mean()) if len(truth) else None,
        contenders=[
            *_rows(field, said, own),
            contenders.chance(field, len(own.alarms)),
            contenders.always(field),
            contenders.nothing(field),
        ],
        days=days,
        precision_at_k=_over_days(field, days, [day.precision for day in days]),
        ceiling_at_k=_over_days(field, days, [day.ceiling for day in days]),
        pr_curves=[
            curve("tocsin", truth, own.urgency, RINGS),
            *(curve(names[head], truth, own.scores[head], own.rings[head]) for head in heads),
        ],
        cost_curves=[
            *([costs.cost_curve(field, "tocsin", tried)] if heads else []),
            *(costs.cost_curve(field, names[head], alone[head]) for head in heads),
        ],
        walk_forward=costs.walk_forward(field, "tocsin", tried) if heads else None,
        calibrations=[
            calibration(name, truth, score, field.cell_block, draw, said.sweep.floor)
            for name, score in (("tocsin", own.urgency), *((names[head], own.scores[head]) for head in heads))
        ],
        leads_s=sorted(catch.lead_s for catch in own.verdict.catches if catch.lead_s is not None),
        delays_s=sorted(catch.delay_s for catch in own.verdict.catches),
        rates=_rates(own.alarms),
        ablations=[*ablations, *(one for one in guessed if one.modality not in rerun)],
        catches=list(own.verdict.catches),
        missed=list(own.verdict.missed),
        aside=list(own.verdict.aside),
        false=list(own.verdict.false),
        benign=[label for label in field.everything if label.benign],
        notes=_notes(field, own, tried[costs.TODAY].point(field).episodes if tried else len(own.alarms)),
    )


def tocsin(
    said: Said, labels: Sequence[Label], parameters: Parameters, outside: Sequence[Label] = ()
) -> tuple[Contender, set[str]]:
    """Return Tocsin's row alone, and the event ids of the labels that it caught: what an ablation by rerun needs."""
    field = Field(labels, said.heard, parameters, outside)
    own = _tocsin(field, said)
    return _rows(field, said, own)[0], own.caught


def _tocsin(field: Field, said: Said) -> _Tocsin:
    severity = field.parameters.severity
    found = _alarms(said, severity)
    specs = said.sweep.specs
    rings = {head: ring(spec, severity) for head, spec in specs.items()}
    scores = {head: highest(field.cells, moments) for head, moments in said.sweep.moments.items()}
    verdict = field.judge(found)
    aside = {one.episode_id for one in verdict.aside}
    return _Tocsin(
        [one for one in found if one.episode_id not in aside],
        verdict,
        rings,
        scores,
        urgencies(scores, rings, len(field.cells)),
    )


def _alarms(said: Said, least: Severity) -> list[Opened]:
    """Return the episodes whose first alert of at least a severity lies within the tested range."""
    heard = said.heard
    return [one for one in alarms(said.alerts, least) if heard.from_ns <= one.available_ns < heard.to_ns]


def _rows(field: Field, said: Said, own: _Tocsin) -> list[Contender]:
    """Return Tocsin's row, then one for each typology that rang or was judged, by name."""
    severity = field.parameters.severity
    informed = Counter(one.typology for one in _alarms(said, "info") if not reaches(one.severity, severity))
    specs = {spec.name: (head, spec.title) for head, spec in said.sweep.specs.items()}
    rows = [
        contenders.row(
            field,
            field.rung(own.verdict),
            own.urgency,
            name="tocsin",
            kind="tocsin",
            title="Tocsin",
            informed=informed.total(),
            typologies=specs,
        )
    ]
    for name, (head, title) in sorted(specs.items()):
        mine = [one for one in own.alarms if one.typology == name]
        if not mine and head not in own.scores and not informed[name]:
            continue
        verdict = field.judge(mine)
        rows.append(
            contenders.row(
                field,
                field.rung(verdict),
                own.scores.get(head),
                name=name,
                kind="typology",
                title=title,
                informed=informed[name],
                typologies={name},
            )
        )
    return rows


def _days(field: Field, said: Said, own: _Tocsin) -> list[Day]:
    k = field.parameters.k
    cells, day = field.days
    scores = {head: highest(cells, moments) for head, moments in said.sweep.moments.items()}
    found = top_k(day, cells.truth, urgencies(scores, own.rings, len(cells)), k)
    rang = Counter(one.available_ns // DAY_NS for one in own.alarms)
    begun = Counter(label.onset_ns // DAY_NS for label in field.labels)
    caught = Counter(catch.label.onset_ns // DAY_NS for catch in own.verdict.catches)
    return [
        Day(
            day_ns=number * DAY_NS,
            k=k,
            hits=hits,
            precision=hits / k,
            ceiling=min(k, positives) / k,
            positives=positives,
            alarms=rang[number],
            labels=begun[number],
            caught=caught[number],
            instruments=heard,
        )
        for number, hits, positives, heard in zip(*(column.tolist() for column in found), strict=True)
    ]


def _over_days(field: Field, days: Sequence[Day], shares: Sequence[float]) -> Estimate:
    """Return the mean over days on which any instrument had a label."""
    with_labels = np.array([day.positives > 0 for day in days], np.float64)
    block = field.block(np.array([day.day_ns for day in days], np.int64))
    draw = field.bootstrap
    return draw.ratio(draw.per_block(block, with_labels * np.array(shares)), draw.per_block(block, with_labels))


def _rates(found: Sequence[Opened]) -> list[Rate]:
    counted = Counter((one.available_ns // HOUR_NS, one.typology) for one in found)
    return [
        Rate(day_ns=hour // 24 * DAY_NS, hour=hour % 24, typology=typology, alarms=count)
        for (hour, typology), count in sorted(counted.items())
    ]


def _notes(field: Field, own: _Tocsin, swept: int) -> list[str]:
    """Return sentences that a reader of the figures must know; ``swept`` is how often today's thresholds rang."""
    notes = []
    if not len(field.bootstrap.counts):
        blocks = f"{field.blocks} {field.parameters.block}{'s' if field.blocks > 1 else ''}"
        notes.append(f"Something was heard in {blocks} only: too few for intervals.")
    elif field.parameters.block == "hour":
        notes.append("Intervals draw hours, for there are few days: they do not tell how other days would differ.")
    if len(field.cells) and field.cells.truth.all():
        notes.append("Every cell is an event's: PR-AUC and calibration tell nothing; a shorter --cell may.")
    if swept != len(own.alarms):
        notes.append(
            f"Today's thresholds ring {swept:,} times on the kept moments and {len(own.alarms):,} times in the alerts: "
            "what is swept is not exact here."
        )
    if aside := len(own.verdict.aside):
        notes.append(
            f"{aside:,} {'alarms belong' if aside > 1 else 'alarm belongs'} to events whose onset lies outside the "
            "tested range: neither true nor false, and in no figure."
        )
    if own.alarms and not field.labels:
        notes.append("No harmful label lies in the tested range: there is nothing that could have been caught.")
    return notes
