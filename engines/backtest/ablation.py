"""Ablation: what a monitor would be worth without one of its modalities.

Two ways, which a result names:

- **shares**, without a replay. An alarm that stands on one modality alone falls with it. A fused one tells in log
  odds what each modality added to its score (the fusion model's own answer with it, less that without it), so what it
  would have scored at that moment is known exactly; it falls where that no longer rings. Not known is whether a later
  moment would have rung, or one that the modality had calmed: so no alarm is ever gained, and fused ones that stay
  (``leaning``) may have come at another moment.
- **rerun**: a replay without the modality's messages, judged like the whole. Nothing is assumed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import msgspec

from engines.backtest.field import Field
from engines.backtest.results import Ablation, Contender, Opened
from schemas.alerts import Alert

#: How an alert's explanation names what a modality added to its log odds (see `agents.fusion`).
SHARE = "share_of_"
#: What an alarm stands on whose alert tells of no weights.
TICKS = "ticks"


class Standing(msgspec.Struct, frozen=True):
    """What an alarm stands on: ``alone`` on one modality, or ``without`` each of several its score would be so much."""

    alone: str = ""
    without: Mapping[str, float] = {}


def standing(alert: Alert) -> Standing:
    """Return what an alert's score stands on."""
    weights = {name: one.weight for name, one in alert.modalities.items() if one.present and one.weight}
    shares = {
        rule.name.removeprefix(SHARE): rule.value for rule in alert.explanation.rules if rule.name.startswith(SHARE)
    }
    if shares:
        score = min(max(alert.finding.score, 1e-12), 1 - 1e-12)
        odds = math.log(score / (1 - score))
        return Standing(without={name: 1 / (1 + math.exp(share - odds)) for name, share in shares.items()})
    return Standing(alone=next(iter(weights), TICKS))


def by_shares(
    field: Field, alarms: Sequence[Opened], alerts: Mapping[str, Alert], rings: Mapping[str, float], whole: set[str]
) -> list[Ablation]:
    """Return what would be left of alarms without each modality that any stands on.

    Parameters
    ----------
    alerts
        The alert of each alarm, by its id.
    rings
        The score at which each typology raises an alarm.
    whole
        Event ids of the labels that all alarms catch.
    """
    stand = {one.alert_id: standing(alerts[one.alert_id]) for one in alarms}
    names = sorted({name for one in stand.values() for name in (*one.without, one.alone) if name})
    found = []
    for name in names:
        kept = [
            one
            for one in alarms
            if stand[one.alert_id].alone != name
            and stand[one.alert_id].without.get(name, math.inf) >= rings[one.typology]
        ]
        verdict = field.judge(kept)
        rung = field.rung(verdict)
        draw = field.bootstrap
        block = field.block(rung.ts)
        caught = {catch.label.event_id for catch in verdict.catches}
        found.append(
            Ablation(
                modality=name,
                how="shares",
                episodes=len(kept),
                fallen=len(alarms) - len(kept),
                leaning=sum(name in stand[one.alert_id].without for one in kept),
                false=len(verdict.false),
                recall=draw.ratio(
                    draw.per_block(field.label_block, field.weight * rung.caught),
                    draw.per_block(field.label_block, field.weight),
                ),
                precision=draw.ratio(draw.per_block(block, rung.hit), draw.per_block(block)),
                lost=sorted(whole - caught),
            )
        )
    return found


def by_rerun(modality: str, whole: Contender, whole_caught: set[str], rest: Contender, caught: set[str]) -> Ablation:
    """Return what a replay without a modality came to beside the whole one; each with the event ids that it caught."""
    return Ablation(
        modality=modality,
        how="rerun",
        episodes=int(rest.episodes),
        fallen=int(whole.episodes - rest.episodes),
        false=int(rest.episodes - rest.hits),
        recall=rest.recall,
        precision=rest.precision,
        pr_auc=rest.pr_auc,
        lost=sorted(whole_caught - caught),
        gained=sorted(caught - whole_caught),
    )
