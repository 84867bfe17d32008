"""The instrument stage: engines loaded, agents chained, and the digest of all that decides."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, cast

import msgspec
import structlog

from agents.flow import Item
from agents.instrument import Engines, instrument
from agents.state import InstrumentState
from agents.text import words
from engines import anomaly
from engines.bundle import DEFAULT, Bundle, BundleError
from engines.fusion import FusionModel
from engines.instruments import DEFAULT_SYMBOLS, SymbolMaster
from engines.text import TextEncoder
from engines.ticks import TickConfig, TickEngine
from engines.tracks import Embedding
from engines.typologies import TypologySpec, adverse_text, elevated_risk, pump_and_dump
from engines.windows import BarSpec
from monitor.errors import StartupError
from monitor.lane import Output
from monitor.recordings import code_version
from monitor.settings import Settings
from monitor.state import StateTable
from monitor.worker import Stage
from schemas.alerts import Provenance, identity
from schemas.records import News, TranscriptSegment
from schemas.topics import INSTRUMENT_INPUTS

log = structlog.get_logger(__name__)

#: A track's head → the typology that judges it.
SPECS: dict[str, TypologySpec] = {
    "anomaly": anomaly.SPEC,
    "pump_and_dump": pump_and_dump.SPEC,
    "adverse_text": adverse_text.SPEC,
    "elevated_risk": elevated_risk.SPEC,
}


def load_stage(settings: Settings, count: Callable[[dict[str, int]], None], *, mode: str = "live") -> Stage:
    """Load what the agents are closed over.

    Parameters
    ----------
    count
        Takes what cleaning set aside, by reason.
    mode
        "live" or "replay": what alerts say of their run.

    Raises
    ------
    StartupError
        The bundle fails its digests, or the symbol master cannot be read.
    """
    try:
        bundle = Bundle.load(settings.bundle or DEFAULT)
        encoder = TextEncoder(bundle)
        fusion = FusionModel(bundle)
        master = SymbolMaster.load(settings.symbols or DEFAULT_SYMBOLS)
        config = TickConfig(
            bars=BarSpec(grace_ns=settings.grace_ms * 1_000_000, idle_grace_ns=settings.idle_grace_ms * 1_000_000)
        )
    except (BundleError, OSError, ValueError) as error:
        raise StartupError(str(error)) from error
    session = encoder.session
    for skip in session.skipped:
        log.info("back end skipped", backend=skip.backend, reason=skip.reason)
    decides = identity(config.digest(), msgspec.json.encode(SPECS, order="deterministic").hex(), bundle.id)
    engines = Engines(
        ticks=TickEngine(config),
        fusion=fusion,
        specs=SPECS,
        subject=master.subject,
        provenance=Provenance(
            code_version=code_version(),
            config=decides,
            bundle=bundle.id,
            engine=session.version,
            backend=session.backend,
            precision=session.precision,
            mode=cast(Any, mode),
            run_id=uuid.uuid4().hex[:12],
        ),
        count=count,
    )

    def agent(items: AsyncIterator[Item], table: StateTable[Any]) -> AsyncIterator[Output]:
        return instrument(items, table, engines)

    def encode(record: News | TranscriptSegment) -> Embedding:
        said = words(record)
        encoded = encoder.encode(said)
        telling = encoded.score >= adverse_text.SPEC.open
        return Embedding(
            ts_event=record.ts_event,
            ts_available=record.ts_available,
            vector=encoded.vector.tobytes(),
            score=encoded.score,
            logits=encoded.logits.tolist(),
            spans=[(span.start, span.end, span.weight) for span in encoder.explain(said)] if telling else [],
        )

    return Stage(
        topics=INSTRUMENT_INPUTS,
        config=decides,
        agent=agent,
        unpack=InstrumentState.unpack,
        encode=encode,
        about={
            "bundle": bundle.id,
            "backend": session.backend,
            "config": decides,
            "symbols": str(Path(settings.symbols or DEFAULT_SYMBOLS).name),
        },
    )
