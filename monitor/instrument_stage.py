"""The instrument stage: what is judged of each instrument by itself, by models and rules."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import msgspec

from agents.flow import Item
from agents.instrument import Engines, instrument
from agents.instrument_state import InstrumentState
from engines import anomaly, lexicon, order_findings, words
from engines.drift.streams import DriftConfig
from engines.exploration import Exploration
from engines.order_findings import OrderConfig
from engines.orders import OrderEngine
from engines.rules import LABEL_PREFIX, configured, overridden
from engines.signals import SignalConfig
from engines.text_labels import TextLabel
from engines.ticks import TickEngine
from engines.typologies import TypologySpec, adverse_text, elevated_risk, pump_and_dump
from monitor.deciding import Output
from monitor.rules import rules_of
from monitor.settings import Settings
from monitor.stage_parts import RULED, Parts, digest_of, ruled_once
from monitor.state import StateTable
from monitor.worker import Stage
from schemas.alerts import Provenance, identity
from schemas.journal import Decides, Rules
from schemas.topics import INSTRUMENT_INPUTS

DAY_NS = 86_400_000_000_000
#: A track's head → the typology that judges it; those on orders beside them.
SPECS: dict[str, TypologySpec] = {
    "anomaly": anomaly.SPEC,
    "pump_and_dump": pump_and_dump.SPEC,
    "adverse_text": adverse_text.SPEC,
    "elevated_risk": elevated_risk.SPEC,
    **words.SPECS,
}


def specs_of(labels: Sequence[TextLabel]) -> dict[str, TypologySpec]:
    """Return the typologies of the stage by their tracks' heads, with those of labels."""
    return {**SPECS, **order_findings.SPECS} | {label.head: label.spec for label in labels}


def instrument_stage(
    parts: Parts,
    settings: Settings,
    provenance: Provenance,
    *,
    count: Callable[[dict[str, int]], None],
    skipped: Callable[[str], None],
) -> Stage:
    """Return the stage; ``provenance`` is its alerts', but for the configuration."""
    bundle, master, session, labels = parts.bundle, parts.master, parts.text, parts.labels
    bar_ns = parts.ticks.bars.width_ns
    specs = specs_of(labels)
    forget_ns = settings.forget_days * DAY_NS
    heard = words.WordsConfig()
    watched = DriftConfig(run_time=settings.drift_run_time, period_ns=max(DriftConfig().period_ns, bar_ns))
    decides = identity(
        parts.ticks.digest(),
        digest_of(SPECS),
        bundle.id,
        forget_ns,
        *(digest_of(one) for one in (heard, lexicon.contents(), watched)),
        *(label.digest for label in labels),
    )
    # Alerts on orders stand on two models of the bundle alone, others on nothing else that decides on orders.
    order_config = OrderConfig()
    judged = [one.digest for one in (parts.flow, parts.opinion) if one]
    order_decides = identity(order_config.digest(), digest_of(dict(order_findings.SPECS)), *judged)
    stage_decides = identity(decides, order_decides)

    def made(told: Provenance) -> Provenance:
        serving = session.serving
        if serving.backend == told.backend:
            return told
        return msgspec.structs.replace(
            told, engine=serving.version, backend=serving.backend, precision=serving.precision
        )

    engines = Engines(
        ticks=TickEngine(parts.ticks, master.asset_class),
        orders=OrderEngine(order_config, parts.flow),
        fusion=parts.fusion,
        specs=specs,
        subject=master.subject,
        provenance=msgspec.structs.replace(provenance, config=decides),
        configs=dict.fromkeys(order_findings.SPECS, order_decides),
        count=count,
        skipped=skipped,
        made=made,
        sector=master.sector,
        signals=SignalConfig(horizon_ns=max(SignalConfig().horizon_ns, bar_ns)),
        drift=watched,
        forget_ns=forget_ns,
        labels=labels,
        words=heard,
        listing=master.listing,
        exploration=Exploration(rate=settings.review_rate, most_a_day=settings.reviews_a_day),
        opinion=parts.opinion,
    )

    # Each of these refers to those above it only: what is let go must not wait for the collector of cycles.
    def decided(config: str, mine: Engines, ruled: Callable[[Rules], Stage]) -> Stage:
        def agent(items: AsyncIterator[Item], table: StateTable[Any]) -> AsyncIterator[Output]:
            return instrument(items, table, mine)

        return Stage(
            name="instrument",
            topics=INSTRUMENT_INPUTS,
            journal="journal",
            checkpoints="checkpoints",
            decides=Decides(bundle.id, config),
            configs=(mine.provenance.config, *dict.fromkeys(mine.configs.values())),
            agent=agent,
            unpack=InstrumentState.unpack,
            ruled=ruled,
            encoders=parts.members.encoders,
        )

    @lru_cache(RULED)
    def ruled(told: Rules) -> Stage:
        rules = rules_of(told)
        weighed = {name for scenario in rules.scenarios for name in scenario.weights if name.startswith(LABEL_PREFIX)}
        if missing := sorted(weighed - specs.keys()):
            raise ValueError(f"a scenario weighs {', '.join(missing)}, of which there is no label in TOCSIN_LABELS")
        mine = replace(
            engines,
            ticks=TickEngine(configured(parts.ticks, rules), master.asset_class),
            orders=OrderEngine(configured(order_config.among(rules.sessions), rules), parts.flow),
            words=configured(heard, rules),
            configs={head: identity(of, rules.digest) for head, of in engines.configs.items()}
            | {
                one.head: identity(stage_decides, rules.digest)
                for one in rules.asked("instrument")
                if not one.weights.keys().isdisjoint(order_findings.SPECS)
            },
            specs={head: overridden(spec, rules) for head, spec in specs.items()},
            provenance=msgspec.structs.replace(provenance, config=identity(decides, rules.digest)),
            rules=rules,
        )
        return decided(identity(stage_decides, rules.digest), mine, ruled_once)

    return decided(stage_decides, engines, ruled)
