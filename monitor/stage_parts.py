"""What stages are made of: the models of a bundle, and what does not come with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import structlog

from engines import credit_model, opinion, order_flow
from engines import names as resembling
from engines.bundle import DEFAULT, Bundle, BundleError
from engines.credit_model import CreditModel
from engines.fusion import FusionModel
from engines.inference import Session
from engines.instruments import DEFAULT_SYMBOLS, SymbolMaster
from engines.names import Names
from engines.opinion import Opinion
from engines.order_flow import OrderFlowModel
from engines.text_labels import TextLabel
from engines.thresholds import PumpFile, read_pump
from engines.ticks import TickConfig
from engines.typologies.pump_and_dump import PumpConfig
from engines.windows import BarSpec
from monitor.encoding import Members, load_members
from monitor.errors import StartupError
from monitor.labels import load_labels
from monitor.pseudonyms import Pseudonyms
from monitor.settings import Settings
from monitor.trust import vouched
from monitor.worker import Stage
from schemas.journal import Fallback, Rules

log = structlog.get_logger(__name__)
#: Rules whose agents are kept: of the lanes of a stage each asks for the same.
RULED = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the stages share, or one of them is made of.

    Of a bundle: ``signed_by``, who vouches for it ("" where nobody was asked), ``fusion``, where it has them ``credit``
    (the model of default), ``flow`` (of orders) and ``opinion``, and what its ``members`` encode. ``labels`` are of its
    text encoder. Of the settings' files: ``master``, ``names``, and ``pump``, thresholds that were learnt; ``ticks`` is
    how bars are made and judged by all this.
    """

    bundle: Bundle
    signed_by: str
    fusion: FusionModel
    credit: CreditModel | None
    flow: OrderFlowModel | None
    opinion: Opinion | None
    members: Members
    labels: Sequence[TextLabel]
    master: SymbolMaster
    names: Names
    pump: PumpFile | None
    ticks: TickConfig

    @property
    def text(self) -> Session:
        """What runs the text encoder: its back end is the one that alerts name."""
        return self.members.sessions["text"]


def load_parts(
    settings: Settings, master: SymbolMaster | None, fell: Callable[[Fallback], None], *, serves: bool
) -> Parts:
    """Load all of it; the symbol master only where none is given.

    Raises
    ------
    StartupError
        The bundle fails its digests, nobody vouches for one that ``serves``, or the symbol master, names, thresholds or
        a label cannot be read.
    """
    try:
        bundle = Bundle.load(settings.bundle or DEFAULT)
        # A replay decides nothing, and has to have what decided once: keys are withdrawn, history is not.
        signed_by = vouched(bundle, settings) if serves else ""
        labels = load_labels(settings.labels, bundle, settings.precision)
        fusion = FusionModel(bundle)
        pump = load_pump(settings.pump)
        bars = BarSpec(
            width_ns=settings.bar_s * 1_000_000_000,
            grace_ns=settings.grace_ms * 1_000_000,
            idle_grace_ns=settings.idle_grace_ms * 1_000_000,
        )
        parts = Parts(
            bundle=bundle,
            signed_by=signed_by,
            fusion=fusion,
            credit=credit_model.of(bundle),
            flow=order_flow.of(bundle),
            opinion=opinion.of(bundle),
            members=load_members(
                bundle, fused=fusion.modalities, cache=settings.cache, precision=settings.precision, fell=fell
            ),
            labels=labels,
            master=master or SymbolMaster.load(settings.symbols or DEFAULT_SYMBOLS),
            names=load_names(settings),
            pump=pump,
            ticks=TickConfig.of_bars(bars, pump.thresholds if pump else PumpConfig()),
        )
    except (BundleError, OSError, ValueError) as error:
        raise StartupError(str(error)) from error
    skips: dict[tuple[str, str], list[str]] = {}
    for name, opened in parts.members.sessions.items():
        for skip in opened.skipped:
            skips.setdefault((skip.backend, skip.reason), []).append(name)
    for (backend, reason), names in skips.items():
        log.info("back end skipped", backend=backend, reason=reason, members=names)
    return parts


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


def digest_of(decides: object) -> str:
    """Return what stands for a configuration among all that decides."""
    return msgspec.json.encode(decides, order="deterministic").hex()


def ruled_once(rules: Rules) -> Stage:
    """Refuse rules for a stage that is under rules."""
    raise AssertionError(f"asked for rules of {rules.effective_ns} of a stage under rules: ask the one without")
