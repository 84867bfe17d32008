"""The instrument stage: all that is done with what arrives for one instrument, in one literal."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from functools import cache

import msgspec

from agents.drift import drift
from agents.flow import Item
from agents.forgetting import forgetting
from agents.fusion import fusion
from agents.instrument_state import InstrumentState
from agents.media import media
from agents.opinions import opinions
from agents.orders import orders
from agents.rekeying import rekeyed_instruments
from agents.reviews import reviews
from agents.scenarios import scenarios
from agents.signals import signals
from agents.text import text
from agents.ticks import ticks
from agents.triage import triage
from engines.drift.streams import DriftConfig
from engines.exploration import Exploration
from engines.fusion import FusionModel
from engines.instruments import Listing, SymbolMaster
from engines.opinion import Opinion
from engines.order_findings import OrderConfig
from engines.orders import OrderEngine
from engines.rules import NONE, RuleFile
from engines.signals import SignalConfig
from engines.text_labels import TextLabel
from engines.ticks import TickEngine
from engines.typologies import TypologySpec
from engines.words import WordsConfig
from schemas.alerts import Alert, Provenance, Subject
from schemas.records import Drift, Moved, Opening


@dataclass(frozen=True, slots=True, kw_only=True)
class Engines:
    """What the agents are closed over.

    ``specs`` maps a track's head to its typology, ``configs`` to what decides on it where that is apart from all else.
    ``count`` takes ticks and orders that were set aside, by reason; ``skipped`` is told the modality of each text,
    chart and sound that the ladder left out; ``sector`` names an instrument's; ``made`` brings an alert's provenance up
    to date. An instrument is forgotten ``forget_ns`` after it was last heard of (0: never). ``labels`` judge texts,
    each by its own typology, which stands in ``specs``; ``words`` are the parameters of the lexicon's. ``rules``
    silence typologies and add scenarios, for instruments of which ``listing`` says what they ask. ``exploration`` says
    how much of what did not ring is sent to be looked at, ``opinion`` says of what rang what an analyst will find.
    """

    ticks: TickEngine
    fusion: FusionModel
    specs: Mapping[str, TypologySpec]
    subject: Callable[[str], Subject]
    provenance: Provenance
    count: Callable[[dict[str, int]], None]
    skipped: Callable[[str], None]
    sector: Callable[[str], str]
    made: Callable[[Provenance], Provenance] = lambda told: told
    configs: Mapping[str, str] = field(default_factory=dict)
    orders: OrderEngine = field(default_factory=lambda: OrderEngine(OrderConfig()))
    signals: SignalConfig = field(default_factory=SignalConfig)
    drift: DriftConfig = field(default_factory=DriftConfig)
    forget_ns: int = 0
    labels: Sequence[TextLabel] = ()
    words: WordsConfig = field(default_factory=WordsConfig)
    rules: RuleFile = NONE
    listing: Callable[[str], Listing] = SymbolMaster(()).listing
    exploration: Exploration = field(default_factory=Exploration)
    opinion: Opinion | None = None


def instrument(
    arrivals: AsyncIterator[Item], state: MutableMapping[str, InstrumentState], engines: Engines
) -> AsyncIterator[Item | Alert]:
    """Ticks, orders, words, media, fusion, signals, drift, triage: what each has to say comes out, among what passed.

    Where there are rules, scenarios come before triage; behind it reviews are drawn where they are asked for, and
    opinions are told where the bundle has learnt any.
    """
    rules, specs, budgets = engines.rules, engines.specs, engines.rules.budgets(engines.specs)
    alive = forgetting(rekeyed_instruments(arrivals, state), state, after_ns=engines.forget_ns)
    ticked = ticks(alive, state, engine=engines.ticks, count=engines.count)
    ordered = orders(ticked, state, engine=engines.orders, count=engines.count)
    adverse = engines.specs["adverse_text"].open
    heard = text(ordered, state, adverse=adverse, skipped=engines.skipped, labels=engines.labels, lexicon=engines.words)
    seen = media(heard, state, skipped=engines.skipped)
    fused = fusion(seen, state, model=engines.fusion, bundle=engines.provenance.bundle)
    told = signals(fused, state, config=engines.signals, sector=engines.sector, bundle=engines.provenance.bundle)
    told = drift(
        told,
        state,
        config=engines.drift,
        count=engines.count,
        listing=engines.listing,
        bundle=engines.provenance.bundle,
        decides=engines.provenance.config,
    )
    if rules is not NONE:
        names = {head: spec.name for head, spec in specs.items()}
        applying = cache(lambda key: rules.applying(engines.listing(key)))
        told = scenarios(told, state, names=names, silent=rules.silent, applying=applying)
        specs = rules.specs(specs, "instrument")
    judged = triage(
        told,
        state,
        specs=specs,
        subject=engines.subject,
        provenance=engines.provenance,
        provenances={
            head: msgspec.structs.replace(engines.provenance, config=config) for head, config in engines.configs.items()
        },
        made=engines.made,
        since_ns=rules.effective_ns,
        budgets=budgets,
    )
    if engines.exploration.rate:
        decides = engines.provenance.config
        asked = engines.exploration
        judged = reviews(judged, state, specs=specs, config=asked, decides=decides, budgets=budgets)
    if engines.opinion is not None:
        judged = opinions(judged, opinion=engines.opinion)
    return openings(judged)


async def openings(items: AsyncIterator[Item | Alert]) -> AsyncIterator[Item | Alert]:
    """Tell the market's scope of every episode that opens, and of every instrument that is no longer what it was."""
    async for item in items:
        yield item
        if isinstance(item, Drift) and item.kind == "market":
            yield Opening(
                ts_event=item.ts_event,
                ts_available=item.ts_available,
                instrument=item.subject,
                typology="drift",
                episode_id=item.drift_id,
                severity="info",
                score=1.0,
                drift=Moved(stream=item.stream, sector=item.sector),
            )
        if isinstance(item, Alert) and item.activity == "create":
            yield Opening(
                ts_event=item.times.event_end,
                ts_available=item.times.available_at,
                instrument=item.subject.instrument,
                typology=item.finding.typology,
                episode_id=item.episode_id,
                severity=item.finding.severity,
                score=item.finding.score,
            )
