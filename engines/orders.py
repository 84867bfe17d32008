"""The order engine: order frames and ticks in, tracks of the market's typologies out, one state an instrument.

Rows are taken one by one in order of arrival: an order's life is a sequence, and so every framing of the same rows
gives the same bits. A row costs a look-up of its order and its account and a few sums; typologies are asked where a
sum passes the least of their thresholds, which hardly ever happens.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import partial
from itertools import islice
from typing import NamedTuple

import msgspec
import numpy as np

from engines.order_state import DEPTH_NS, DEPTHS, MINUTE_NS, SECOND_NS, Account, Order, OrderState
from engines.tracks import OrderUpdate, Track
from engines.typologies import TypologySpec, conditions, excessive_messages, spoofing
from engines.typologies.conditions import LEAST_SCORE, Conditions
from engines.typologies.excessive_messages import ExcessiveMessagesConfig
from engines.typologies.spoofing import SpoofingConfig
from schemas.alerts import Explanation
from schemas.frames import Frame, Kind
from schemas.order_frames import Action, OrderFrame

#: What is looked for in order events.
SPECS: dict[str, TypologySpec] = {module.SPEC.name: module.SPEC for module in (spoofing, excessive_messages)}
#: As plain numbers: looking a member of an enum up takes longer than the comparison.
NEW, AMEND, FILL = int(Action.NEW), int(Action.AMEND), int(Action.FILL)
_QUOTE = int(Kind.QUOTE)
#: Whose events name no account.
_NOBODY = -1
#: An account that sends too much is judged again after so long.
_PAUSE_NS = SECOND_NS


class OrderConfig(msgspec.Struct, frozen=True, kw_only=True):
    """All that can change a decision on orders.

    ``late_ns`` (ns): an event that is older than the newest by more is set aside. ``accounts`` and ``orders`` are how
    many are remembered of an instrument; beyond them a quarter is forgotten, the longest silent first.
    """

    spoofing: SpoofingConfig = SpoofingConfig()
    excessive_messages: ExcessiveMessagesConfig = ExcessiveMessagesConfig()
    late_ns: int = 5_000_000_000
    accounts: int = 1_024
    orders: int = 16_384

    def digest(self) -> str:
        """Return 16 hex digits that stand for this configuration."""
        return hashlib.sha256(msgspec.json.encode(self, order="deterministic")).hexdigest()[:16]


class Finding(NamedTuple):
    """A moment that a typology gives a score: times in ns."""

    head: str
    account: str
    ts_event: int
    ts_available: int
    window_start: int
    conditions: Conditions
    score: float


class _Pass:
    """What one call gathers; ``available_ns`` is of the row that is being taken."""

    __slots__ = ("available_ns", "counts", "findings", "state")

    def __init__(self, state: OrderState) -> None:
        self.state = state
        self.findings: list[Finding] = []
        self.counts: dict[str, int] = {}
        self.available_ns = 0

    def count(self, reason: str, rows: int = 1) -> None:
        if rows:
            self.counts[reason] = self.counts.get(reason, 0) + rows

    def find(self, head: str, account: Account, start_ns: int, found: Conditions) -> float:
        score = conditions.score(found)
        if score >= LEAST_SCORE:
            self.findings.append(
                Finding(head, account.name, self.state.newest_ns, self.available_ns, start_ns, found, score)
            )
        return score

    def update(self) -> OrderUpdate:
        return OrderUpdate(tuple(_tracks(self.findings)), self.counts)


class OrderEngine:
    """Applies order frames, ticks and the passing of time to the state of an instrument's orders.

    Example
    -------
    >>> from schemas.order_frames import order_frame_of
    >>> engine = OrderEngine(OrderConfig())
    >>> state = engine.new_state()
    >>> columns = {"ts_event": [1, 2], "action": [0, 2], "side": [1, 1], "price": [5.0, 5.0], "size": [9.0, 9.0]}
    >>> update = engine.apply(state, order_frame_of("ACME.XTOC", columns | {"order": [7, 8], "account": [0, 0]}, ["a"]))
    >>> update.tracks, update.counts
    ((), {'unknown_order': 1})
    """

    def __init__(self, config: OrderConfig) -> None:
        self.config = config
        self._least_pull = 0.5 * config.spoofing.size
        self._least_messages = 0.5 * config.excessive_messages.messages

    def new_state(self) -> OrderState:
        """Return the state of an instrument that has seen no order."""
        state = OrderState()
        state.accounts[_NOBODY] = Account(_NOBODY, "")
        return state

    def observe(self, state: OrderState, frame: Frame) -> OrderUpdate:
        """Learn the quoted depth from ticks of the instrument; crossed quotes are counted."""
        quotes = np.flatnonzero(frame.kind == _QUOTE)
        if not len(quotes):
            return OrderUpdate()
        state.begin(frame.ts_event.item(int(quotes[0])))
        crossed = frame.bid[quotes] >= frame.ask[quotes]
        sound = quotes[~crossed]
        sample = np.maximum.accumulate((frame.ts_event[sound] - state.origin_ns) // DEPTH_NS)
        last = np.flatnonzero(np.append(sample[1:] != sample[:-1], True)) if len(sound) else sound
        units = 0.5 * (frame.bid_size[sound[last]] + frame.ask_size[sound[last]])
        for number, depth in zip(sample[last].tolist(), units.tolist(), strict=True):
            if state.depths and number <= state.depths[-1][0]:
                number = state.depths.pop()[0]
            state.depths.append((number, depth))
        del state.depths[:-DEPTHS]
        rows = int(crossed.sum())
        return OrderUpdate(counts={"crossed_quote": rows} if rows else {})

    def apply(self, state: OrderState, frame: OrderFrame) -> OrderUpdate:
        """Apply a frame to ``state``, in place, and return what it found.

        An event that is a little late counts as of the newest one before it.
        """
        if not len(frame):
            return OrderUpdate()
        state.begin(frame.ts_event.item(0))
        run = _Pass(state)
        _count_missing(frame, run)
        accounts: list[Account | None] = [None] * len(frame.accounts)
        for ts, available, action, side, price, size, number, place in zip(
            frame.ts_event.tolist(),
            frame.ts_available.tolist(),
            frame.action.tolist(),
            (frame.side > 0).view(np.int8).tolist(),
            frame.price.tolist(),
            frame.size.tolist(),
            frame.order.tolist(),
            frame.account.tolist(),
            strict=True,
        ):
            if ts > state.newest_ns:
                if ts >= state.next_minute_ns:
                    state.turn(ts)
                state.at(ts)
            elif ts < state.newest_ns - self.config.late_ns:
                run.count("out_of_sequence")
                continue
            if size < 0.0 or price < 0.0:
                run.count("negative_size" if size < 0.0 else "negative_price")
                continue
            run.available_ns = available
            if action == NEW:
                account = state.accounts[_NOBODY] if place < 0 else accounts[place]
                if account is None:
                    account, forgot = self._account(state, frame.accounts[place])
                    if forgot:
                        accounts = [None] * len(accounts)
                    accounts[place] = account
                self._place(run, account, side, price, size, number)
            else:
                order = state.orders.get(number)
                if order is None:
                    run.count("unknown_order")
                    continue
                account = state.accounts[order.account]
                if action == FILL:
                    self._fill(run, account, number, order, price, size)
                    continue
                if action == AMEND:
                    self._amend(run, account, order, price, size)
                else:
                    self._withdraw(run, account, number, order)
            account.seen_ns = state.newest_ns
            account.messages += 1
            if account.messages > self._least_messages * state.busy:
                self._judge_messages(run, account)
        return run.update()

    def advance(self, state: OrderState, now_ns: int) -> OrderUpdate:
        """Do what the clock ``now_ns`` (int64 ns) makes due."""
        return OrderUpdate()

    def _account(self, state: OrderState, name: str) -> tuple[Account, bool]:
        """Return the account of a name, and whether others were forgotten for it."""
        number = state.names.get(name)
        if number is not None:
            return state.accounts[number], False
        forgot = len(state.names) >= self.config.accounts
        if forgot:
            by_silence = sorted(state.names.values(), key=lambda one: (state.accounts[one].seen_ns, one))
            for gone in by_silence[: max(1, len(by_silence) // 4)]:
                del state.names[state.accounts.pop(gone).name]
            state.orders = {number: order for number, order in state.orders.items() if order.account in state.accounts}
        state.names[name] = state.next_account
        account = state.accounts[state.next_account] = Account(state.next_account, name)
        state.next_account += 1
        return account, forgot

    def _place(self, run: _Pass, account: Account, side: int, price: float, size: float, number: int) -> None:
        state = run.state
        if number in state.orders:
            run.count("order_twice")
            return
        if len(state.orders) >= self.config.orders:
            for gone in list(islice(state.orders, self.config.orders // 4)):
                _close(state, state.accounts[state.orders[gone].account], gone)
                run.count("order_forgotten")
        now_ns = state.newest_ns
        against = account.filled[1 - side]
        state.orders[number] = Order(account.number, side, price, size, size, 0.0, now_ns, now_ns, against)
        account.resting[side] += size
        account.open[side] += 1
        account.placed[side] += size * state.minutely.weight

    def _amend(self, run: _Pass, account: Account, order: Order, price: float, size: float) -> None:
        more = size - order.left
        account.resting[order.side] += more
        if more > 0.0:
            account.placed[order.side] += more * run.state.minutely.weight
        order.price, order.left, order.size = price, size, order.filled + size
        order.touched_ns = run.state.newest_ns

    def _withdraw(self, run: _Pass, account: Account, number: int, order: Order) -> None:
        state = run.state
        large = account.resting[order.side] > self._least_pull * state.depth
        if large and not order.filled and account.number != _NOBODY:
            found = spoofing.measure(self.config.spoofing, state, account, order)
            if run.find("spoofing", account, order.placed_ns, found) >= spoofing.SPEC.open:
                account.pulls += state.hourly.weight
        _close(state, account, number)

    def _fill(self, run: _Pass, account: Account, number: int, order: Order, price: float, size: float) -> None:
        state, side = run.state, order.side
        if size > order.left:
            run.count("overfilled")
            size = order.left
        order.left -= size
        order.filled += size
        account.resting[side] -= size
        account.filled[side] += size
        account.filled_ns[side] = state.newest_ns
        account.fills += 1
        state.last_price = price
        if order.left <= 1e-9 * order.size:
            _close(state, account, number)

    def _judge_messages(self, run: _Pass, account: Account) -> None:
        state = run.state
        if account.number != _NOBODY and state.newest_ns >= account.judged_ns + _PAUSE_NS:
            account.judged_ns = state.newest_ns
            found = excessive_messages.measure(self.config.excessive_messages, account, state.busy)
            run.find("excessive_messages", account, state.next_minute_ns - MINUTE_NS, found)


def _close(state: OrderState, owner: Account, number: int) -> None:
    """Take an order out of the book."""
    order = state.orders.pop(number)
    side = order.side
    owner.open[side] -= 1
    # Nothing open is nothing at all: what rounding left of the sum goes with it.
    owner.resting[side] = owner.resting[side] - order.left if owner.open[side] else 0.0


def _count_missing(frame: OrderFrame, run: _Pass) -> None:
    """Let each typology say which of its fields a frame lacks."""
    rows = int(np.count_nonzero(frame.account < 0))
    for name in SPECS if rows else ():
        run.count(f"no_account: {name}", rows)


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
    return conditions.explain(group[i].conditions)
