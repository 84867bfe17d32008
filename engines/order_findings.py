"""What the order engine looks for, by which parameters, and how what one call finds becomes tracks."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from types import MappingProxyType
from typing import Literal, NamedTuple, Protocol

import msgspec
import numpy as np

from engines import order_tail
from engines.order_state import Account, OrderState
from engines.order_tail import Ask
from engines.sessions import Session
from engines.tracks import OrderUpdate, Track
from engines.typologies import (
    TypologySpec,
    circular_trading,
    conditions,
    excessive_messages,
    fat_finger,
    front_running,
    influencing_the_open,
    insider_dealing,
    layering,
    marking_the_close,
    momentum_ignition,
    quote_stuffing,
    spoofing,
    wash_trading,
)
from engines.typologies.circular_trading import CircularTradingConfig
from engines.typologies.conditions import LEAST_SCORE, Conditions
from engines.typologies.cross_product import CrossProductConfig
from engines.typologies.excessive_messages import ExcessiveMessagesConfig
from engines.typologies.fat_finger import FatFingerConfig
from engines.typologies.front_running import FrontRunningConfig
from engines.typologies.influencing_the_open import InfluencingTheOpenConfig
from engines.typologies.insider_dealing import InsiderDealingConfig
from engines.typologies.layering import LayeringConfig
from engines.typologies.marking_the_close import MarkingTheCloseConfig
from engines.typologies.momentum_ignition import MomentumIgnitionConfig
from engines.typologies.quote_stuffing import QuoteStuffingConfig
from engines.typologies.spoofing import SpoofingConfig
from engines.typologies.wash_trading import WashTradingConfig
from schemas.alerts import Explanation
from schemas.records import Half

#: What is looked for in order events.
SPECS: Mapping[str, TypologySpec] = MappingProxyType(
    {
        module.SPEC.name: module.SPEC
        for module in (
            spoofing,
            layering,
            quote_stuffing,
            excessive_messages,
            wash_trading,
            circular_trading,
            fat_finger,
            marking_the_close,
            influencing_the_open,
            momentum_ignition,
            front_running,
            insider_dealing,
        )
    }
)
#: A side of an order as records have it.
SIDES: tuple[Literal[-1], Literal[1]] = (-1, 1)
#: Whose events name no account.
NOBODY = -1


class OrderConfig(msgspec.Struct, frozen=True, kw_only=True):
    """All that can change a decision on orders.

    ``cross_product`` says what the market's scope is told of, which judges it. ``sessions`` are the hours of venues, by
    MIC: the simulator's, and what rules add. ``late_ns`` (ns): an event that is older than the newest by more is set
    aside. ``taker_ns`` (ns): a fill so soon after its order came or changed is
    aggressive. ``accounts`` and ``orders`` are how many are remembered of an instrument; beyond them a quarter is
    forgotten, the longest silent first.
    """

    spoofing: SpoofingConfig = SpoofingConfig()
    layering: LayeringConfig = LayeringConfig()
    quote_stuffing: QuoteStuffingConfig = QuoteStuffingConfig()
    excessive_messages: ExcessiveMessagesConfig = ExcessiveMessagesConfig()
    wash_trading: WashTradingConfig = WashTradingConfig()
    circular_trading: CircularTradingConfig = CircularTradingConfig()
    fat_finger: FatFingerConfig = FatFingerConfig()
    marking_the_close: MarkingTheCloseConfig = MarkingTheCloseConfig()
    influencing_the_open: InfluencingTheOpenConfig = InfluencingTheOpenConfig()
    momentum_ignition: MomentumIgnitionConfig = MomentumIgnitionConfig()
    front_running: FrontRunningConfig = FrontRunningConfig()
    insider_dealing: InsiderDealingConfig = InsiderDealingConfig()
    cross_product: CrossProductConfig = CrossProductConfig()
    sessions: dict[str, Session] = msgspec.field(
        default_factory=lambda: dict.fromkeys(("XTOC", "XTOD"), Session(open="14:30", close="21:00"))
    )
    late_ns: int = 5_000_000_000
    taker_ns: int = 1_000_000
    accounts: int = 1_024
    orders: int = 16_384

    def among(self, sessions: dict[str, Session]) -> OrderConfig:
        """Return this with the hours of other venues, or other hours of the same."""
        return msgspec.structs.replace(self, sessions=self.sessions | sessions) if sessions else self

    def digest(self) -> str:
        """Return 16 hex digits that stand for this configuration."""
        return hashlib.sha256(msgspec.json.encode(self, order="deterministic")).hexdigest()[:16]


class Finding(NamedTuple):
    """A moment that a typology gives a score: times in ns.

    ``ask`` numbers the moment at which a model is asked beside it, -1 none; ``explain`` tells more than the conditions.
    """

    head: str
    account: str
    ts_event: int
    ts_available: int
    window_start: int
    conditions: Conditions
    score: float
    ask: int = -1
    explain: Callable[[], Explanation] | None = None


class Pass:
    """What one call gathers; ``available_ns`` is of the row that is being taken.

    ``asks`` are the moments at which a model is to be asked, where it is ``asking``.
    """

    __slots__ = ("asking", "asks", "available_ns", "counts", "findings", "halves", "session", "state")

    def __init__(self, state: OrderState, session: Session | None = None, *, asking: bool = False) -> None:
        self.state = state
        self.asking = asking
        self.asks: list[Ask] = []
        self.session = session
        self.findings: list[Finding] = []
        self.counts: dict[str, int] = {}
        self.halves: list[tuple[int, Half]] = []
        self.available_ns = 0

    def count(self, reason: str, rows: int = 1) -> None:
        if rows:
            self.counts[reason] = self.counts.get(reason, 0) + rows

    def find(self, head: str, account: Account, start_ns: int, found: Conditions, at_ns: int = 0) -> float:
        score = conditions.score(found)
        if score >= LEAST_SCORE and account.number != NOBODY:
            at_ns, ask = at_ns or self.state.newest_ns, self.ask(account)
            self.findings.append(Finding(head, account.name, at_ns, self.available_ns, start_ns, found, score, ask))
        return score

    def tell(self, half: Half) -> None:
        self.halves.append((self.available_ns, half))

    def ask(self, account: Account) -> int:
        """Ask a model about an account's last events, once an event; return which moment that is, -1 none."""
        if not self.asking or account.number == NOBODY:
            return -1
        if not self.asks or self.asks[-1].account is not account or self.asks[-1].number != account.told:
            one = order_tail.ask(self.state, account, self.available_ns)
            if one is None:
                return -1
            self.asks.append(one)
        return len(self.asks) - 1

    def update(self) -> OrderUpdate:
        return OrderUpdate(tuple(_tracks(self.findings)), self.counts, tuple(self.halves))


class Weigher(Protocol):
    """What weighs a model's word with what rules found: `engines.order_flow.OrderFlowModel` is one."""

    def weigh(self, run: Pass) -> None:
        """Answer the asks of ``run`` and let that count in its findings, in place."""
        ...


def _tracks(findings: list[Finding]) -> Iterator[Track]:
    """Yield a track for each typology and account, in order of their first finding."""
    groups: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        groups.setdefault((finding.head, finding.account), []).append(finding)
    for (head, account), group in groups.items():
        yield Track(
            head,
            np.array([one.ts_event for one in group], np.int64),
            np.array([one.ts_available for one in group], np.int64),
            np.array([one.score for one in group]),
            np.array([one.window_start for one in group], np.int64),
            partial(_explain, group),
            account=account,
        )


def _explain(group: list[Finding], i: int) -> Explanation:
    one = group[i]
    return one.explain() if one.explain else conditions.explain(one.conditions)
