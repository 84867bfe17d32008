"""The account stage: what is judged of each account's transfers and statements."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from functools import lru_cache
from typing import Any

import msgspec

from agents import accounts
from agents.account_state import AccountState
from agents.flow import Item
from engines import statements, transfers
from engines.rules import NONE, RuleFile, configured
from engines.statements import StatementEngine
from engines.transfers import TransferConfig, TransferEngine
from engines.typologies.counterparty_default import CounterpartyConfig
from monitor.deciding import Output
from monitor.rules import rules_of
from monitor.stage_parts import RULED, Parts, digest_of, ruled_once
from monitor.state import StateTable
from monitor.worker import Stage
from schemas.alerts import Provenance, Subject, identity
from schemas.journal import Decides, Rules
from schemas.topics import ACCOUNT_INPUTS, ACCOUNTS

SPECS = accounts.SPECS
#: How long an account is remembered that moves nothing: longer than any typology calls dormant.
FORGET_NS = 400 * 86_400_000_000_000


def account_stage(parts: Parts, by_rules: Provenance, *, count: Callable[[dict[str, int]], None]) -> Stage:
    """Return the stage; ``by_rules`` is the provenance of alerts that no model has a say in, but for configurations."""
    names, credit = parts.names, parts.credit
    flows, counterparties = TransferConfig(), CounterpartyConfig()
    # Alerts on transfers stand on no bundle, those on statements on its model of default.
    decides = identity(flows.digest(names), digest_of(transfers.SPECS), FORGET_NS)
    credit_decides = identity(StatementEngine(counterparties, credit).digest(), FORGET_NS)
    bundle = parts.bundle.id if credit else ""

    def by_credit(config: str) -> Provenance:
        if credit is None:
            return msgspec.structs.replace(by_rules, config=config)
        told = credit.session.serving
        return msgspec.structs.replace(
            by_rules, config=config, bundle=bundle, engine=told.version, backend=told.backend, precision=told.precision
        )

    # Each of these refers to those above it only, as those of the instrument stage do.
    def decided(configs: tuple[str, str], rules: RuleFile, ruled: Callable[[Rules], Stage]) -> Stage:
        both = identity(*configs)
        mine = accounts.Engines(
            transfers=TransferEngine(configured(flows, rules), names),
            statements=StatementEngine(configured(counterparties, rules), credit),
            specs=SPECS,
            subject=lambda key: Subject(instrument=ACCOUNTS, account=key),
            provenance=msgspec.structs.replace(by_rules, config=configs[0]),
            provenances=dict.fromkeys(statements.SPECS, by_credit(configs[1]))
            | {
                one.head: by_credit(both)
                for one in rules.asked("account")
                if not one.weights.keys().isdisjoint(statements.SPECS)
            },
            count=count,
            forget_ns=FORGET_NS,
            rules=rules,
        )

        def agent(items: AsyncIterator[Item], table: StateTable[Any]) -> AsyncIterator[Output]:
            return accounts.accounts(items, table, mine)

        return Stage(
            name="account",
            topics=ACCOUNT_INPUTS,
            journal="accounts.journal",
            checkpoints="accounts.checkpoints",
            decides=Decides(bundle, both),
            configs=(*configs, both),
            agent=agent,
            unpack=AccountState.unpack,
            ruled=ruled,
        )

    @lru_cache(RULED)
    def ruled(told: Rules) -> Stage:
        rules = rules_of(told)
        configs = identity(decides, rules.digest), identity(credit_decides, rules.digest)
        return decided(configs, rules, ruled_once)

    return decided((decides, credit_decides), NONE, ruled)
