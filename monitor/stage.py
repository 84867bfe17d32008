"""The stages: engines loaded, agents chained, and the digest of all that decides, a scope each."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import msgspec

from engines.bundle import Source
from engines.instruments import DEFAULT_SYMBOLS, SymbolMaster
from engines.rules import overridden
from engines.typologies import TypologySpec
from monitor import account_stage, market_stage
from monitor.errors import StartupError
from monitor.instrument_stage import instrument_stage, specs_of
from monitor.recording_format import code_version
from monitor.rulebook import Rulebook
from monitor.rules import load_rules, rules_of
from monitor.settings import Settings
from monitor.stage_parts import load_parts
from monitor.worker import Stage
from schemas.alerts import Provenance
from schemas.journal import Fallback


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

    parts = load_parts(settings, before.master if before else None, fallen, serves=mode == "live")
    bundle, session, labels = parts.bundle, parts.text, parts.labels
    run_id = before.run_id if before else uuid.uuid4().hex[:12]
    # Of alerts that no model of the bundle has a say in.
    by_rules = Provenance(code_version=code_version(), config="", mode=cast(Any, mode), run_id=run_id)
    provenance = msgspec.structs.replace(
        by_rules,
        bundle=bundle.id,
        engine=session.version,
        backend=session.backend,
        precision=session.precision,
    )
    instrument = instrument_stage(parts, settings, provenance, count=count, skipped=skipped)
    rulebook = before.rulebook if before else Rulebook(load_rules(settings.rules))
    try:
        config_told = instrument.under(rulebook.base).decides.config
    except ValueError as error:
        raise StartupError(
            f"{settings.rules} cannot be followed ({error}): change it, or unset TOCSIN_RULES."
        ) from error
    ruling = rules_of(rulebook.base)
    beside = [name for name, model in (("credit", parts.credit), ("opinion", parts.opinion)) if model]
    about |= {
        "bundle": bundle.id,
        "model": "",
        "backend": session.backend,
        "members": sorted([*parts.members.encoders, *beside]),
        "config": config_told,
        "rules": ruling.version,
        "labels": [label.file.name for label in labels],
        **({"signed_by": parts.signed_by} if parts.signed_by else {}),
        "symbols": str(Path(settings.symbols or DEFAULT_SYMBOLS).name),
    }
    specs = specs_of(labels)
    return Stages(
        instrument=instrument,
        account=account_stage.account_stage(parts, by_rules, count=count),
        market=market_stage.market_stage(parts.master, by_rules),
        about=about,
        specs=ruling.specs(specs, "instrument")
        | ruling.specs(account_stage.SPECS, "account")
        | {head: overridden(spec, ruling) for head, spec in (specs | account_stage.SPECS | market_stage.SPECS).items()},
        lineage=[
            *bundle.manifest.lineage,
            *([parts.pump.source] if parts.pump else []),
            *(label.file.source for label in labels if label.file.source),
        ],
        labels=[label.file.name for label in labels if not label.file.source],
        master=parts.master,
        run_id=run_id,
        rulebook=rulebook,
    )
