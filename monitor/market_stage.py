"""The market stage: what is judged of many instruments at once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from functools import lru_cache
from typing import Any

import msgspec

from agents import market_drift
from agents.flow import Item
from agents.market import market
from agents.market_state import MarketState
from engines.instruments import SymbolMaster
from engines.order_findings import OrderConfig
from engines.rules import NONE, RuleFile, configured
from engines.typologies import TypologySpec, cross_product, market_wide
from engines.typologies.market_wide import CrowdConfig
from monitor.deciding import Output
from monitor.rules import rules_of
from monitor.stage_parts import RULED, digest_of, ruled_once
from monitor.state import StateTable
from monitor.worker import Stage
from schemas.alerts import Provenance, identity
from schemas.journal import Decides, Rules
from schemas.topics import MARKET_INPUTS

SPECS: dict[str, TypologySpec] = {spec.name: spec for spec in (market_wide.SPEC, cross_product.SPEC)}


def market_stage(master: SymbolMaster, by_rules: Provenance) -> Stage:
    """Return the stage; ``by_rules`` is the provenance of its alerts, but for the configuration."""
    crowd, crossing = CrowdConfig(), OrderConfig().cross_product
    decides = identity(*(digest_of(one) for one in (crowd, crossing, SPECS, market_drift.CROWD)))

    # Each of these refers to those above it only, as those of the instrument stage do.
    def decided(config: str, rules: RuleFile, ruled: Callable[[Rules], Stage]) -> Stage:
        told, mine, pairing = (
            msgspec.structs.replace(by_rules, config=config),
            configured(crowd, rules),
            configured(crossing, rules),
        )

        def agent(items: AsyncIterator[Item], table: StateTable[Any]) -> AsyncIterator[Output]:
            return market(
                items,
                table,
                crowd=mine,
                crossing=pairing,
                product=master.product,
                specs=SPECS,
                subject=master.subject,
                provenance=told,
                rules=rules,
            )

        return Stage(
            name="market",
            topics=MARKET_INPUTS,
            journal="market.journal",
            checkpoints="market.checkpoints",
            decides=Decides("", config),
            agent=agent,
            unpack=MarketState.unpack,
            ruled=ruled,
        )

    @lru_cache(RULED)
    def ruled(told: Rules) -> Stage:
        rules = rules_of(told)
        return decided(identity(decides, rules.digest), rules, ruled_once)

    return decided(decides, NONE, ruled)
