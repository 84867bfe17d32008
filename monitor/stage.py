"""The stages: engines loaded, agents chained, and the digest of all that decides, a scope each."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import msgspec
import structlog

from agents import accounts, market_drift
from agents.flow import Item
from agents.instrument import Engines, instrument
from agents.market import market
from agents.state import AccountState, InstrumentState, MarketState
from engines import anomaly, credit_model, lexicon, opinion, order_findings, order_flow, statements, transfers, words
from engines import names as resembling
from engines.bundle import DEFAULT, Bundle, BundleError, Source
from engines.drift.streams import DriftConfig
from engines.exploration import Exploration
from engines.fusion import FusionModel
from engines.instruments import DEFAULT_SYMBOLS, SymbolMaster
from engines.names import Names
from engines.order_findings import OrderConfig
from engines.orders import OrderEngine
from engines.rules import LABEL_PREFIX, NONE, RuleFile, configured, overridden
from engines.signals import SignalConfig
from engines.statements import StatementEngine
from engines.thresholds import PumpFile, read_pump
from engines.ticks import TickConfig, TickEngine
from engines.transfers import TransferConfig, TransferEngine
from engines.typologies import TypologySpec, adverse_text, cross_product, elevated_risk, market_wide, pump_and_dump
from engines.typologies.counterparty_default import CounterpartyConfig
from engines.typologies.market_wide import CrowdConfig
from engines.typologies.pump_and_dump import PumpConfig
from engines.windows import BarSpec
from monitor.deciding import Output
from monitor.encoding import load_members
from monitor.errors import StartupError
from monitor.labels import load_labels
from monitor.pseudonyms import Pseudonyms
from monitor.recording_format import code_version
from monitor.rulebook import Rulebook
from monitor.rules import load_rules, rules_of
from monitor.settings import Settings
from monitor.state import StateTable
from monitor.trust import vouched
from monitor.worker import Stage
from schemas.alerts import Provenance, Subject, identity
from schemas.journal import Decides, Fallback, Rules
from schemas.topics import ACCOUNT_INPUTS, ACCOUNTS, INSTRUMENT_INPUTS, MARKET_INPUTS

log = structlog.get_logger(__name__)
DAY_NS = 86_400_000_000_000
#: How long an account is remembered that moves nothing: longer than any typology calls dormant.
FORGET_ACCOUNTS_NS = 400 * DAY_NS
#: Rules whose agents are kept: of the lanes of a stage each asks for the same.
RULED = 8

#: A track's head → the typology that judges it, of instruments, of accounts and of the market.
SPECS: dict[str, TypologySpec] = {
    "anomaly": anomaly.SPEC,
    "pump_and_dump": pump_and_dump.SPEC,
    "adverse_text": adverse_text.SPEC,
    "elevated_risk": elevated_risk.SPEC,
    **words.SPECS,
}
ACCOUNT_SPECS = accounts.SPECS
MARKET_SPECS: dict[str, TypologySpec] = {spec.name: spec for spec in (market_wide.SPEC, cross_product.SPEC)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stages:
    """The stages, in the order in which records pass through them, and what probes and logs tell of them.

    ``master``, ``run_id`` and ``rulebook`` stay what they are for as long as the process runs, whichever bundle serves;
    ``rulebook`` knows the rules of ``TOCSIN_RULES``. ``specs`` is a track's head → the typology that judges it, of all
    stages; ``lineage`` is the bundle's and of what thresholds were learnt from, ``labels`` the names of what texts are
    judged by whose examples are of no known time.
    """

    instrument: Stage
    account: Stage
    market: Stage
    about: dict[str, Any]
    specs: Mapping[str, TypologySpec]
    lineage: Sequence[Source]
    labels: Sequence[str]
    master: SymbolMaster
    run_id: str
    rulebook: Rulebook

    def __iter__(self) -> Iterator[Stage]:
        return iter((self.instrument, self.account, self.market))


def load_stages(
    settings: Settings,
    count: Callable[[dict[str, int]], None],
    *,
    skipped: Callable[[str], None] = lambda modality: None,
    fell: Callable[[Fallback], None] = lambda fallback: None,
    mode: str = "live",
    before: Stages | None = None,
) -> Stages:
    """Load what the agents are closed over.

    Parameters
    ----------
    count
        Takes what cleaning set aside, by reason.
    skipped
        Is told the modality of each text, chart and sound that the ladder left out.
    fell
        Is told of a back end that failed in service, by an encoding thread.
    mode
        "live" or "replay": what alerts say of their run.
    before
        Stages that served until now in this process, for another bundle (and labels, which are of an encoder) alone.

    Raises
    ------
    StartupError
        The bundle fails its digests, nobody vouches for one that is to serve, or the symbol master, names, a label or
        the rules cannot be read.
    """
    about: dict[str, Any] = {}

    def fallen(fallback: Fallback) -> None:
        if fallback.member == "text":
            about["backend"] = fallback.serves
        fell(fallback)

    try:
        bundle = Bundle.load(settings.bundle or DEFAULT)
        # A replay decides nothing, and has to have what decided once: keys are withdrawn, history is not.
        signed = {"signed_by": vouched(bundle, settings)} if mode == "live" else {}
        labels = load_labels(settings.labels, bundle, settings.precision)
        fusion, credit, flow = FusionModel(bundle), credit_model.of(bundle), order_flow.of(bundle)
        mind = opinion.of(bundle)
        members = load_members(
            bundle, fused=fusion.modalities, cache=settings.cache, precision=settings.precision, fell=fallen
        )
        master = before.master if before else SymbolMaster.load(settings.symbols or DEFAULT_SYMBOLS)
        bars = BarSpec(
            width_ns=settings.bar_s * 1_000_000_000,
            grace_ns=settings.grace_ms * 1_000_000,
            idle_grace_ns=settings.idle_grace_ms * 1_000_000,
        )
        pump, known = load_pump(settings.pump), load_names(settings)
        config = TickConfig.of_bars(bars, pump.thresholds if pump else PumpConfig())
    except (BundleError, OSError, ValueError) as error:
        raise StartupError(str(error)) from error
    skips: dict[tuple[str, str], list[str]] = {}
    for name, opened in members.sessions.items():
        for skip in opened.skipped:
            skips.setdefault((skip.backend, skip.reason), []).append(name)
    for (backend, reason), names in skips.items():
        log.info("back end skipped", backend=backend, reason=reason, members=names)
    session = members.sessions["text"]
    specs = {**SPECS, **order_findings.SPECS} | {label.head: label.spec for label in labels}
    forget_ns = settings.forget_days * DAY_NS
    heard = words.WordsConfig()
    watched = DriftConfig(run_time=settings.drift_run_time, period_ns=max(DriftConfig().period_ns, bars.width_ns))
    said = (_digest(heard), _digest(lexicon.contents()), _digest(watched))
    decides = identity(
        config.digest(), _digest(SPECS), bundle.id, forget_ns, *said, *(label.digest for label in labels)
    )
    # Alerts on orders stand on two models of the bundle alone, others on nothing else that decides on orders.
    order_config = OrderConfig()
    judged = [one.digest for one in (flow, mind) if one]
    order_decides = identity(order_config.digest(), _digest(dict(order_findings.SPECS)), *judged)
    stage_decides = identity(decides, order_decides)
    flows = TransferConfig()
    # Alerts on transfers stand on no bundle, those on statements on its model of default.
    counterparties = CounterpartyConfig()
    account_decides = identity(flows.digest(known), _digest(transfers.SPECS), FORGET_ACCOUNTS_NS)
    credit_decides = identity(StatementEngine(counterparties, credit).digest(), FORGET_ACCOUNTS_NS)
    crowd = CrowdConfig()
    market_decides = identity(
        _digest(crowd), _digest(order_config.cross_product), _digest(MARKET_SPECS), _digest(market_drift.CROWD)
    )
    provenance = Provenance(
        code_version=code_version(),
        config=decides,
        bundle=bundle.id,
        engine=session.version,
        backend=session.backend,
        precision=session.precision,
        mode=cast(Any, mode),
        run_id=before.run_id if before else uuid.uuid4().hex[:12],
    )

    def made(told: Provenance) -> Provenance:
        serving = session.serving
        if serving.backend == told.backend:
            return told
        return msgspec.structs.replace(
            told, engine=serving.version, backend=serving.backend, precision=serving.precision
        )

    engines = Engines(
        ticks=TickEngine(config, master.asset_class),
        orders=OrderEngine(order_config, flow),
        fusion=fusion,
        specs=specs,
        subject=master.subject,
        provenance=provenance,
        configs=dict.fromkeys(order_findings.SPECS, order_decides),
        count=count,
        skipped=skipped,
        made=made,
        sector=master.sector,
        signals=SignalConfig(horizon_ns=max(SignalConfig().horizon_ns, bars.width_ns)),
        drift=watched,
        forget_ns=forget_ns,
        labels=labels,
        words=heard,
        listing=master.listing,
        exploration=Exploration(rate=settings.review_rate, most_a_day=settings.reviews_a_day),
        opinion=mind,
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
            encoders=members.encoders,
        )

    @lru_cache(RULED)
    def ruled(told: Rules) -> Stage:
        rules = rules_of(told)
        weighed = {name for scenario in rules.scenarios for name in scenario.weights if name.startswith(LABEL_PREFIX)}
        if missing := sorted(weighed - specs.keys()):
            raise ValueError(f"a scenario weighs {', '.join(missing)}, of which there is no label in TOCSIN_LABELS")
        mine = replace(
            engines,
            ticks=TickEngine(configured(config, rules), master.asset_class),
            orders=OrderEngine(configured(order_config.among(rules.sessions), rules), flow),
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
        return decided(identity(stage_decides, rules.digest), mine, _once)

    def by_rules(config: str) -> Provenance:
        # No model of the bundle has a say in it.
        return msgspec.structs.replace(provenance, config=config, bundle="", engine="", backend="", precision="")

    def by_credit(config: str) -> Provenance:
        if credit is None:
            return by_rules(config)
        told = credit.session.serving
        return msgspec.structs.replace(
            provenance, config=config, engine=told.version, backend=told.backend, precision=told.precision
        )

    def account_decided(configs: tuple[str, str], rules: RuleFile, ruled: Callable[[Rules], Stage]) -> Stage:
        both = identity(*configs)
        mine = accounts.Engines(
            transfers=TransferEngine(configured(flows, rules), known),
            statements=StatementEngine(configured(counterparties, rules), credit),
            specs=ACCOUNT_SPECS,
            subject=lambda key: Subject(instrument=ACCOUNTS, account=key),
            provenance=by_rules(configs[0]),
            provenances=dict.fromkeys(statements.SPECS, by_credit(configs[1]))
            | {
                one.head: by_credit(both)
                for one in rules.asked("account")
                if not one.weights.keys().isdisjoint(statements.SPECS)
            },
            count=count,
            forget_ns=FORGET_ACCOUNTS_NS,
            rules=rules,
        )

        def agent(items: AsyncIterator[Item], table: StateTable[Any]) -> AsyncIterator[Output]:
            return accounts.accounts(items, table, mine)

        return Stage(
            name="account",
            topics=ACCOUNT_INPUTS,
            journal="accounts.journal",
            checkpoints="accounts.checkpoints",
            decides=Decides(bundle.id if credit else "", both),
            configs=(*configs, both),
            agent=agent,
            unpack=AccountState.unpack,
            ruled=ruled,
        )

    @lru_cache(RULED)
    def account_ruled(told: Rules) -> Stage:
        rules = rules_of(told)
        return account_decided(
            (identity(account_decides, rules.digest), identity(credit_decides, rules.digest)), rules, _once
        )

    def market_decided(config: str, rules: RuleFile, ruled: Callable[[Rules], Stage]) -> Stage:
        told, mine = by_rules(config), configured(crowd, rules)
        pairing = configured(order_config.cross_product, rules)

        def agent(items: AsyncIterator[Item], table: StateTable[Any]) -> AsyncIterator[Output]:
            return market(
                items,
                table,
                crowd=mine,
                crossing=pairing,
                product=master.product,
                specs=MARKET_SPECS,
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
    def market_ruled(told: Rules) -> Stage:
        rules = rules_of(told)
        return market_decided(identity(market_decides, rules.digest), rules, _once)

    rulebook = before.rulebook if before else Rulebook(load_rules(settings.rules))
    base, served = rulebook.base, decided(stage_decides, engines, ruled)
    try:
        config_told = served.under(base).decides.config
    except ValueError as error:
        raise StartupError(
            f"{settings.rules} cannot be followed ({error}): change it, or unset TOCSIN_RULES."
        ) from error
    ruling = rules_of(base)
    about |= signed | {
        "bundle": bundle.id,
        "model": "",
        "backend": session.backend,
        "members": sorted([*members.encoders, *(["credit"] if credit else []), *(["opinion"] if mind else [])]),
        "config": config_told,
        "rules": ruling.version,
        "labels": [label.file.name for label in labels],
        "symbols": str(Path(settings.symbols or DEFAULT_SYMBOLS).name),
    }
    return Stages(
        instrument=served,
        account=account_decided((account_decides, credit_decides), NONE, account_ruled),
        market=market_decided(market_decides, NONE, market_ruled),
        about=about,
        specs=ruling.specs(specs, "instrument")
        | ruling.specs(ACCOUNT_SPECS, "account")
        | {head: overridden(spec, ruling) for head, spec in (specs | ACCOUNT_SPECS | MARKET_SPECS).items()},
        lineage=[
            *bundle.manifest.lineage,
            *([pump.source] if pump else []),
            *(label.file.source for label in labels if label.file.source),
        ],
        labels=[label.file.name for label in labels if not label.file.source],
        master=master,
        run_id=provenance.run_id,
        rulebook=rulebook,
    )


def _once(rules: Rules) -> Stage:
    raise AssertionError(f"asked for rules of {rules.effective_ns} of a stage under rules: ask the one without")


def load_pump(path: Path | None) -> PumpFile | None:
    """Return the thresholds of a file, None where there is none.

    Raises
    ------
    StartupError
        It cannot be read, or does not hold what it should.
    """
    if path is None:
        return None
    try:
        return read_pump(path.read_bytes())
    except (OSError, ValueError) as error:
        raise StartupError(
            f"{path} holds no thresholds of pump_and_dump ({error}): make them again with `tocsin train pump_trades"
            " --until DATE`, or unset TOCSIN_PUMP."
        ) from error


def load_names(settings: Settings) -> Names:
    """Return whose names the settings' files give, and which of them resemble listed ones.

    Raises
    ------
    StartupError
        A file cannot be read, or holds no such names.
    """
    try:
        accounts, listed = (
            b"" if path is None else path.read_bytes() for path in (settings.accounts, settings.sanctions)
        )
        if accounts and (names := Pseudonyms.of(settings)):
            accounts = names.csv(accounts, "account")
        return resembling.read(accounts, listed)
    except (OSError, ValueError) as error:
        raise StartupError(f"Names cannot be read ({error}): correct TOCSIN_ACCOUNTS or TOCSIN_SANCTIONS.") from error


def _digest(decides: object) -> str:
    return msgspec.json.encode(decides, order="deterministic").hex()
