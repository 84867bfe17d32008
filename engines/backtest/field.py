"""The field: what every contender of a backtest is judged on, laid out once.

It holds the labels, where alarms would be theirs, the cells, the days, NAB's rows, and the blocks that the bootstrap
draws. Nothing in it knows what any contender said.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from engines.backtest.bootstrap import Bootstrap
from engines.backtest.cells import DAY_NS, Cells, Heard, Spans, cells, days, joined, own_spans, places, spans, within
from engines.backtest.matching import Verdict, Window, judge
from engines.backtest.results import Block, Opened, Parameters
from engines.backtest.rows import NabRows
from engines.labels import Label

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
BLOCKS_NS: dict[Block, int] = {"week": 7 * DAY_NS, "day": DAY_NS, "hour": DAY_NS // 24}
#: Fewer blocks than this, and a shorter kind is drawn.
ENOUGH = 10
NEVER = np.iinfo(np.int64).max


def choose_block(heard: Heard) -> Block:
    """Return the longest kind of block of which something was heard in `ENOUGH`, "hour" where none has as many."""
    for name, length_ns in BLOCKS_NS.items():
        if len(np.unique(heard.ts // length_ns)) >= ENOUGH:
            return name
    return "hour"


def trading_day_ns(heard: Heard) -> int:
    """Return how long a whole day's trading is: the longest of UTC days that lie wholly in the tested range.

    Where none does, it is 24 hours.
    """
    day, stretch_ns = heard.stretches()
    return int(stretch_ns[~heard.is_cut(day)].max(initial=0)) or DAY_NS


def known_ns(label: Label, parameters: Parameters) -> int:
    """Return when a label may be used: when it was found, or ``label_delay_ns`` after it is over and, if ever, public.

    Not before its window is over either: until then nobody knows whether an alarm will catch it.
    """
    known = label.known_ns or max(label.end_ns, label.public_ns) + parameters.label_delay_ns
    return max(known, label.end_ns + parameters.after_ns)


@dataclass(frozen=True, slots=True, eq=False)
class Rung:
    """When a contender rang, and what of it was a label's.

    ``instrument``, ``ts`` (int64 ns available) and ``hit`` of shape (n,), an alarm each. Of shape (labels,), by the
    field's harmful labels: ``caught``, ``own`` (by the label's typology), ``delay_s`` and ``lead_s``, NaN where there
    is none.
    """

    instrument: Ints
    ts: Ints
    hit: Bools
    caught: Bools
    own: Bools
    delay_s: Floats
    lead_s: Floats


class Field:
    """What contenders are judged on.

    Parameters
    ----------
    labels
        Those within the tested range, benign ones too.
    heard
        What was heard within it.
    outside
        Labels outside of it: what is a harmful one's is neither true nor false.
    """

    def __init__(
        self, labels: Sequence[Label], heard: Heard, parameters: Parameters, outside: Sequence[Label] = ()
    ) -> None:
        self.parameters, self.heard = parameters, heard
        self.window = Window(parameters.before_ns, parameters.after_ns, parameters.match)
        self.everything = tuple(labels)
        self.outside = tuple(label for label in outside if not label.benign)
        self.labels = tuple(
            sorted((label for label in labels if not label.benign), key=lambda label: (label.onset_ns, label.event_id))
        )
        self.number = heard.number()
        self.windows = spans(self.labels, self.window, self.number)
        self.own = own_spans(self.labels, self.window, self.number)
        self.aside = spans(self.outside, self.window, self.number)
        self.touched = joined(self.windows, self.aside)
        self.cells: Cells = cells(heard, self.touched, self.own, parameters.cell_ns)
        self.onset = np.array([label.onset_ns for label in self.labels], np.int64)
        self.weight = np.array([label.weight for label in self.labels], np.float64)
        self.public = np.array([label.public_ns for label in self.labels], np.int64)
        self.known = np.array([known_ns(label, parameters) for label in self.labels], np.int64)
        length_ns = BLOCKS_NS[parameters.block]
        self._length_ns = length_ns
        self._blocks = np.unique(np.concatenate([heard.ts, self.onset, self.cells.first]) // length_ns)
        self.blocks = len(self._blocks)
        self.bootstrap = Bootstrap(self.blocks, parameters.draws, parameters.seed)
        self.label_block = self.block(self.onset)
        self.cell_block = self.block(self.cells.first)

    def block(self, ts: Ints) -> Ints:
        """Return the number of the block of each time."""
        return np.minimum(np.searchsorted(self._blocks, ts // self._length_ns), self.blocks - 1)

    @cached_property
    def days(self) -> tuple[Cells, Ints]:
        """Instrument-days, and the number of each one's day."""
        return days(self.heard, self.own, own_spans(self.outside, self.window, self.number))

    @cached_property
    def day_share(self) -> tuple[Floats, Floats]:
        """Days and instrument-days that each block brings: an hour brings its part of the hours of its day.

        A day that the tested range cuts counts by how much of a whole day's trading was heard of.
        """
        pairs = np.unique(self.heard.ts // DAY_NS * self.blocks + self.block(self.heard.ts))  # a day and a block
        day, block = pairs // self.blocks, pairs % self.blocks
        days_, of, blocks_a_day = np.unique(day, return_inverse=True, return_counts=True)
        start = self.heard.instrument_days()
        instruments_a_day = np.bincount(np.searchsorted(days_, start // DAY_NS), minlength=len(days_))
        _, stretch_ns = self.heard.stretches()
        part = np.where(self.heard.is_cut(days_), np.minimum(stretch_ns / self.parameters.trading_day_ns, 1), 1)
        share = (part / blocks_a_day)[of]
        return (
            self.bootstrap.per_block(block, share),
            self.bootstrap.per_block(block, share * instruments_a_day[of]),
        )

    @cached_property
    def rows(self) -> NabRows:
        """NAB's rows."""
        return NabRows(self.heard, self.touched, self.own, self.parameters.cell_ns)

    def judge(self, alarms: Sequence[Opened]) -> Verdict:
        """Give alarms to the labels that they belong to."""
        return judge(self.everything, alarms, self.window, least="info", outside=self.outside)

    def strays(self, instrument: Ints, ts: Ints, typology: str = "") -> Bools:
        """Tell which of nobody's alarms (n,) are no false ones: those that are a label's outside of the tested range.

        ``typology`` is theirs, where all are of one.
        """
        aside = self.aside
        if typology and self.parameters.match == "own":
            aside = of_typology(aside, self.outside, {typology})
        return within(aside, instrument, ts)

    def cost(self, false: int, missed: int) -> float:
        """Return what false alarms and missed labels cost."""
        return self.parameters.cost_false * false + self.parameters.cost_missed * missed

    def rung(self, verdict: Verdict) -> Rung:
        """Return what a contender's alarms came to, as arrays; labels of the verdict are the field's."""
        alarms = [*verdict.hits, *(stray.opened for stray in verdict.false)]
        at = {label.event_id: number for number, label in enumerate(self.labels)}
        caught, own = np.zeros(len(self.labels), np.bool_), np.zeros(len(self.labels), np.bool_)
        delay_s, lead_s = np.full(len(self.labels), np.nan), np.full(len(self.labels), np.nan)
        for catch in verdict.catches:
            number = at[catch.label.event_id]
            caught[number], own[number], delay_s[number] = True, catch.own, catch.delay_s
            if catch.lead_s is not None:
                lead_s[number] = catch.lead_s
        return Rung(
            np.array([self.number[one.instrument] for one in alarms], np.int64),
            np.array([one.available_ns for one in alarms], np.int64),
            np.arange(len(alarms)) < len(verdict.hits),
            caught,
            own,
            delay_s,
            lead_s,
        )


def inside(windows: Spans, instrument: Ints, ts: Ints) -> tuple[Ints, Ints]:
    """Return where the alarms in each window begin and where they end, among alarms sorted as `first_within` says."""
    low = places(instrument, ts, windows.instrument, windows.first, "left")
    return low, places(instrument, ts, windows.instrument, windows.last, "right")


def first_within(windows: Spans, labels: int, instrument: Ints, ts: Ints) -> Ints:
    """Return the first alarm, ns, in any window of each label (labels,), `NEVER` where there is none.

    Alarms (n,) are sorted by ``ts`` within ``instrument``.
    """
    low, high = inside(windows, instrument, ts)
    there = low < high
    found = np.full(labels, NEVER)
    np.minimum.at(found, windows.label[there], ts[low[there]])
    return found


def of_typology(windows: Spans, labels: Sequence[Label], typologies: Collection[str]) -> Spans:
    """Return the windows of labels of some typologies."""
    wanted = np.array([label.typology in typologies for label in labels], np.bool_)
    mine = wanted[windows.label] if len(windows) else np.zeros(0, np.bool_)
    return Spans(windows.instrument[mine], windows.first[mine], windows.last[mine], windows.label[mine])
