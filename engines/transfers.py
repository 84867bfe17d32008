"""What a transfer says of both its ends: every typology of money, over the states of the accounts of one graph.

    transfer ─► payer:  structuring, fan_out, rapid_movement, dormant_account, sanctions_proximity
             └► payee:  structuring, fan_in,  round_trip,     dormant_account, sanctions_proximity

Each is a pure function of the states; of a round trip also of those of the accounts that the money went through.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import msgspec
import numpy as np

from engines.accounts import HALF_LIFE_NS, KEPT, KEPT_NS, KNOWN, SETTLED_NS, Account, Edge, Flow, Near
from engines.names import NOBODY, Names
from engines.tracks import Track
from engines.typologies import (
    TypologySpec,
    conditions,
    dormant_account,
    fan_in,
    fan_out,
    patterns,
    rapid_movement,
    round_trip,
    sanctions_proximity,
    structuring,
)
from engines.typologies.conditions import LEAST_SCORE
from engines.typologies.dormant_account import DormantConfig
from engines.typologies.fan_in import FanInConfig
from engines.typologies.fan_out import FanOutConfig
from engines.typologies.patterns import Pattern
from engines.typologies.rapid_movement import RapidMovementConfig
from engines.typologies.round_trip import RoundTripConfig
from engines.typologies.sanctions_proximity import SanctionsConfig
from engines.typologies.structuring import StructuringConfig
from schemas.records import Transfer

SPECS: dict[str, TypologySpec] = {
    module.SPEC.name: module.SPEC
    for module in (structuring, fan_in, fan_out, rapid_movement, round_trip, dormant_account, sanctions_proximity)
}
#: Before a currency's code, the key of what is usual for everyone in it: no account's id begins so.
EVERYONE = "\x00"


class TransferConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The typologies' parameters."""

    structuring: StructuringConfig = StructuringConfig()
    fan_in: FanInConfig = FanInConfig()
    fan_out: FanOutConfig = FanOutConfig()
    rapid_movement: RapidMovementConfig = RapidMovementConfig()
    round_trip: RoundTripConfig = RoundTripConfig()
    dormant_account: DormantConfig = DormantConfig()
    sanctions_proximity: SanctionsConfig = SanctionsConfig()

    def digest(self, names: Names) -> str:
        """Return all that decides, as a string."""
        own = msgspec.json.encode(self, order="deterministic").hex()
        return f"{own} {KEPT} {KEPT_NS} {KNOWN} {SETTLED_NS} {HALF_LIFE_NS} {names.digest}"


class TransferUpdate(NamedTuple):
    """What a transfer changed: accounts (and what is usual for everyone) by key, and tracks, each with its account.

    ``refused`` is the reason where it could not be judged, else empty; scores that change no episode are left out.
    """

    accounts: dict[str, Account]
    tracks: tuple[tuple[str, Track], ...] = ()
    refused: str = ""


class TransferEngine:
    """The typologies with their parameters, and the names that the user gave."""

    def __init__(self, config: TransferConfig, names: Names = NOBODY) -> None:
        self._config = config
        self._names = names

    def apply(self, look: Callable[[str], Account | None], transfer: Transfer) -> TransferUpdate:
        """Apply a transfer to both ends, which ``look`` returns by their keys; what is new is made here."""
        payer_id, payee_id, ts = transfer.account, transfer.counterparty, transfer.ts_event
        if payer_id == payee_id:
            return TransferUpdate({}, refused="to_itself")
        payer, payee = look(payer_id) or self.new(payer_id), look(payee_id) or self.new(payee_id)
        key = EVERYONE + transfer.currency
        everyone = look(key) or Account(first_ns=ts)
        touched = {payer_id: payer, payee_id: payee}
        units = _units(everyone.sent, transfer)
        if not payer.take(transfer, units, paying=True):
            return TransferUpdate(touched, refused="late_or_twice")
        payee.take(transfer, units, paying=False)
        everyone.sent.learn(ts, transfer.amount, fresh=False)
        self._approach(transfer, payer, payee)
        found = (
            *((payer_id, head, pattern) for head, pattern in self._paying(payer, everyone.first_ns, transfer)),
            *((payee_id, head, pattern) for head, pattern in self._paid(payee, everyone.first_ns, transfer, look)),
        )
        tracks = ((account, _track(head, transfer, pattern)) for account, head, pattern in found if pattern is not None)
        # Their hold runs from the last moment that was high enough: a lower one changes nothing.
        heard = tuple((account, track) for account, track in tracks if track.score[0] >= LEAST_SCORE)
        return TransferUpdate(touched | {key: everyone}, heard)

    def new(self, account: str) -> Account:
        """Return an account that was never heard of, with what the names say of it."""
        match = self._names.matches.get(account)
        near = Near(0, 0, match.similarity, match.listed, (account,)) if match else None
        return Account(newest_ns=self._names.last_ns.get(account, 0), near=near)

    def _approach(self, transfer: Transfer, payer: Account, payee: Account) -> None:
        config, ts, id_ = self._config.sanctions_proximity, transfer.ts_event, transfer.transfer_id
        before = payer.near
        payer.near = sanctions_proximity.nearer(config, transfer.account, before, payee.near, ts, id_)
        payee.near = sanctions_proximity.nearer(config, transfer.counterparty, payee.near, before, ts, id_)

    def _paying(self, payer: Account, stream_ns: int, transfer: Transfer) -> Iterator[tuple[str, Pattern | None]]:
        config, ts = self._config, transfer.ts_event
        yield "structuring", structuring.find(config.structuring, payer.sent, _edge(payer.sent, transfer))
        yield "fan_out", fan_out.find(config.fan_out, payer, payer.sent, stream_ns, ts)
        yield "rapid_movement", rapid_movement.find(config.rapid_movement, payer, ts)
        yield from self._either(payer, transfer)

    def _paid(
        self, payee: Account, stream_ns: int, transfer: Transfer, look: Callable[[str], Account | None]
    ) -> Iterator[tuple[str, Pattern | None]]:
        config, ts, edge = self._config, transfer.ts_event, _edge(payee.received, transfer)
        yield "structuring", structuring.find(config.structuring, payee.received, edge)
        yield "fan_in", fan_in.find(config.fan_in, payee, payee.received, stream_ns, ts)
        yield "round_trip", round_trip.find(config.round_trip, look, transfer.counterparty, payee, edge)
        yield from self._either(payee, transfer)

    def _either(self, account: Account, transfer: Transfer) -> Iterator[tuple[str, Pattern | None]]:
        config, ts = self._config, transfer.ts_event
        yield "dormant_account", dormant_account.find(config.dormant_account, account, ts)
        yield (
            "sanctions_proximity",
            sanctions_proximity.find(config.sanctions_proximity, account, ts, transfer.transfer_id),
        )


def _units(everyone: Flow, transfer: Transfer) -> float:
    """Return the amount over the geometric mean of all before it in its currency; the first is one unit."""
    return transfer.amount / math.exp(everyone.logs / everyone.count) if everyone.count else 1.0


def _edge(flow: Flow, transfer: Transfer) -> Edge:
    return next(edge for edge in reversed(flow.edges) if edge.transfer_id == transfer.transfer_id)


def _track(head: str, transfer: Transfer, pattern: Pattern) -> Track:
    return Track(
        head=head,
        ts_event=np.array([transfer.ts_event], np.int64),
        ts_available=np.array([transfer.ts_available], np.int64),
        score=np.array([conditions.score(pattern.conditions)]),
        window_start=np.array([pattern.since_ns], np.int64),
        explain=lambda _: patterns.explain(pattern),
    )
