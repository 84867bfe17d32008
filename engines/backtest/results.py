"""All that a backtest finds, as frozen values that survive a round trip through JSON; docs/backtest.md says how.

Times are int64 ns UTC, durations in seconds where the name says so. An `Estimate` is a figure with the 95 % interval of
a bootstrap over whole blocks (see `Parameters.block`); what cannot be told is None, never a number.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from engines.labels import Label
from schemas.alerts import Severity

LAYOUT = 1
Block = Literal["hour", "day", "week"]
Match = Literal["any", "own"]
Kind = Literal["tocsin", "typology", "random", "always", "nothing"]


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A group of what a backtest finds."""


class Estimate(msgspec.Struct, frozen=True):
    """A figure, and the 95 % interval of a block bootstrap; None where nothing can be said of it."""

    value: float | None
    low: float | None = None
    high: float | None = None


NOTHING = Estimate(None)


class Span(Part, frozen=True, kw_only=True):
    """A stretch of time ``[from_ns, to_ns)`` and what is to be said of it, such as why it was left out."""

    from_ns: int
    to_ns: int
    what: str


class Parameters(Part, frozen=True, kw_only=True):
    """What the figures depend on beside the data.

    An alarm is an episode's first alert of at least ``severity``. It belongs to a label from ``before_ns`` ahead of the
    label's start to ``after_ns`` behind its end, on one of its instruments; where ``match`` is "own", if it is of the
    label's typology too. A cell is one instrument for ``cell_ns``. ``k`` is how many instruments a day are looked at
    for precision@k. A label may choose a threshold ``label_delay_ns`` after it is over and public. ``block`` is what
    the bootstrap draws together, ``draws`` how often. ``trading_day_ns`` is how long a whole day's trading is: of a day
    that the tested range cuts, only its part of that counts in rates.
    """

    severity: Severity = "warning"
    before_ns: int = 60 * 10**9
    after_ns: int = 3_600 * 10**9
    match: Match = "any"
    cell_ns: int = 3_600 * 10**9
    k: int = 5
    analysts: int = 1
    cost_false: float = 1.0
    cost_missed: float = 100.0
    label_delay_ns: int = 86_400 * 10**9
    block: Block = "day"
    draws: int = 1000
    seed: int = 0
    trading_day_ns: int = 86_400 * 10**9


class Tested(Part, frozen=True, kw_only=True):
    """What was tested, on what, against which labels.

    ``instruments`` were heard of, the market is none; ``days`` and ``instrument_days`` count UTC days on which
    anything, or an instrument, was. ``labels`` and ``benign`` were judged by; ``labels_outside`` lie outside the tested
    range, ``labels_skipped`` name instruments of which nothing was heard (``unknown_instruments``, skipped because the
    user said so). ``stamps`` are sentences that every reader must see, ``gaps`` what was missing or left out.
    """

    replay: str
    recording: str
    recording_digest: str
    alert_digest: str
    code_version: str
    bundle: str
    config: str
    from_ns: int
    to_ns: int
    warm_up_ns: int
    instruments: int
    days: int
    instrument_days: int
    labels_file: str
    labels_digest: str
    labels: int
    benign: int
    labels_outside: int = 0
    labels_skipped: int = 0
    unknown_instruments: list[str] = []
    stamps: list[str] = []
    gaps: list[Span] = []


class Opened(Part, frozen=True, kw_only=True):
    """An alarm: an episode at its first alert of at least the asked severity.

    ``alert_id`` is that alert's. ``opened_ns`` is the event time that completed its cause, ``available_ns`` when a desk
    could know of it; delays and leads go by the latter. ``severity`` is the highest that the episode reached, ``score``
    and ``probability`` what it opened with, ``weights`` the modalities' shares of it where alerts tell them.
    ``account`` is the one that it concerns, "" where it names none.
    """

    episode_id: str
    alert_id: str
    typology: str
    instrument: str
    opened_ns: int
    available_ns: int
    severity: Severity
    score: float
    weights: dict[str, float] = {}
    account: str = ""
    probability: float | None = None


class Catch(Part, frozen=True, kw_only=True):
    """A harmful label that was caught, and its episodes, earliest first.

    ``own`` tells whether one is of the label's typology. ``delay_s`` runs from the label's onset to the first alarm
    (negative: before it), ``lead_s`` from the first alarm to the public event (positive: before it), None where there
    was none; both go by the first of the label's own typology, where there is none by the first of any.
    """

    label: Label
    opened: list[Opened]
    own: bool
    delay_s: float
    lead_s: float | None = None


class Stray(Part, frozen=True, kw_only=True):
    """An alarm that belongs to no harmful label; ``bait`` is the benign label that it met, "" none."""

    opened: Opened
    bait: str = ""


class Contender(Part, frozen=True, kw_only=True):
    """A row of the table: Tocsin, one typology of it, or a detector that knows nothing.

    ``episodes`` are alarms, ``informed`` episodes that stayed below the asked severity; ``hits`` alarms that belong to
    a label. ``recall`` is of harmful labels, each by its weight, ``own_recall`` of those whose typology is looked for,
    by that typology; ``precision`` is of alarms. ``pr_auc`` (average precision; its floor is `Backtest.base_rate`),
    ``brier`` and ``ece`` are of cells. ``nab`` is 0 without alarms, 100 if perfect. A "random" row is the mean over
    many such detectors at Tocsin's rate, its intervals are theirs.
    """

    name: str
    kind: Kind
    title: str = ""
    episodes: float
    hits: float
    informed: int = 0
    recall: Estimate
    own_recall: Estimate = NOTHING
    precision: Estimate
    alerts_per_day: Estimate
    alerts_per_instrument_day: Estimate
    alerts_per_analyst_day: Estimate
    lead_median_s: Estimate = NOTHING
    lead_p10_s: Estimate = NOTHING
    delay_median_s: Estimate = NOTHING
    delay_p10_s: Estimate = NOTHING
    delay_p90_s: Estimate = NOTHING
    pr_auc: Estimate = NOTHING
    brier: Estimate = NOTHING
    ece: Estimate = NOTHING
    nab: Estimate = NOTHING
    cost: Estimate = NOTHING


class Day(Part, frozen=True, kw_only=True):
    """A UTC day that begins at ``day_ns``: of the ``k`` instruments that scored highest, how many had a label.

    ``hits`` may be a fraction: instruments that tie for the last places share them. ``ceiling`` is the precision that
    knowing everything would reach, for a day may have fewer labelled instruments than ``k``. Beside it the day's
    ``alarms``, ``labels`` (harmful, by onset), how many of them were ``caught``, and the ``instruments`` heard of.
    """

    day_ns: int
    k: int
    hits: float
    precision: float
    ceiling: float
    positives: int
    alarms: int
    labels: int
    caught: int
    instruments: int


class PrPoint(Part, frozen=True, kw_only=True):
    """Precision and recall of cells that score at least ``threshold``."""

    threshold: float
    precision: float
    recall: float


class PrCurve(Part, frozen=True, kw_only=True):
    """The curve of a contender, thresholds falling; ``operating`` is the point at which it rings today."""

    contender: str
    points: list[PrPoint]
    operating: PrPoint | None = None


class CostPoint(Part, frozen=True, kw_only=True):
    """What a threshold would have cost: ``false`` alarms and ``missed`` labels of ``episodes`` and all labels."""

    threshold: float
    cost: float
    episodes: int
    false: int
    missed: int


class CostCurve(Part, frozen=True, kw_only=True):
    """Cost by threshold, exact episodes for each; ``contender``'s own scale (Tocsin's is urgency: 0.5 rings today).

    ``cheapest`` was found in hindsight: no desk could have chosen it. ``today`` is the threshold that served.
    """

    contender: str
    points: list[CostPoint]
    flag_nothing: float
    flag_all: float
    cheapest: CostPoint
    today: CostPoint


class Choice(Part, frozen=True, kw_only=True):
    """The threshold that was the cheapest by what was known at ``from_ns``, and what it did until ``to_ns``.

    ``known`` labels could be known by then; where they were too few, nothing was ``chosen`` and today's threshold
    stayed.
    """

    from_ns: int
    to_ns: int
    threshold: float
    known: int
    chosen: bool
    episodes: int
    false: int
    missed: int


class WalkForward(Part, frozen=True, kw_only=True):
    """Progressive validation with the labels' delay: thresholds chosen on the past alone, block by block.

    ``cost`` is beside ``cost_today``, what today's threshold cost on the same blocks.
    """

    contender: str
    choices: list[Choice]
    cost: float
    cost_today: float
    cost_hindsight: float
    episodes: int
    false: int
    missed: int


class Bin(Part, frozen=True, kw_only=True):
    """Cells whose scores lie in ``[low, high]``: how many, their mean score, and the share that had a label."""

    low: float
    high: float
    cells: int
    mean: float
    share: Estimate


class Calibration(Part, frozen=True, kw_only=True):
    """How far a contender's score in a cell is the probability that the cell has a label.

    Heads' scores below ``floor`` were not kept and count as 0. ``brier_base`` is what the base rate alone would reach.
    """

    contender: str
    floor: float
    brier: Estimate
    brier_base: float
    ece: Estimate
    bins: list[Bin]


class Rate(Part, frozen=True, kw_only=True):
    """Alarms of a typology that became available in one hour (0 to 23, UTC) of a day."""

    day_ns: int
    hour: int
    typology: str
    alarms: int


class Ablation(Part, frozen=True, kw_only=True):
    """What would be without a ``modality``.

    ``how`` is "rerun" (its messages were left out of a replay) or "shares" (alarms fall that would not have rung
    without it at that moment; ``leaning`` ones stay although they partly stood on it). ``fallen`` is by how many the
    alarms are fewer. ``lost`` and ``gained`` are event ids of labels that only the whole, or only the rest, caught.
    """

    modality: str
    how: Literal["rerun", "shares"]
    episodes: int
    fallen: int
    leaning: int = 0
    false: int
    recall: Estimate
    precision: Estimate
    pr_auc: Estimate = NOTHING
    lost: list[str] = []
    gained: list[str] = []


class Backtest(Part, frozen=True, kw_only=True):
    """Everything. ``contenders[0]`` is Tocsin; ``base_rate`` is the share of ``cells`` that are a label's.

    ``aside`` are alarms that are an event's whose onset lies outside the tested range: in no figure. ``days_covered``
    are the days that rates are divided by (see `Parameters.trading_day_ns`).
    ``leads_s`` and ``delays_s`` are those of Tocsin's catches, sorted; ``rates`` only hours with alarms; ``benign``
    the labels for which nothing should have rung.
    ``precision_at_k`` and ``ceiling_at_k`` are means over days on which any instrument had a label.
    """

    layout: int = LAYOUT
    tested: Tested
    parameters: Parameters
    days_covered: float = 0.0
    cells: int
    positive_cells: int
    base_rate: float | None
    contenders: list[Contender]
    days: list[Day]
    precision_at_k: Estimate
    ceiling_at_k: Estimate
    pr_curves: list[PrCurve]
    cost_curves: list[CostCurve]
    walk_forward: WalkForward | None
    calibrations: list[Calibration]
    leads_s: list[float]
    delays_s: list[float]
    rates: list[Rate]
    ablations: list[Ablation]
    catches: list[Catch]
    missed: list[Label]
    aside: list[Opened] = []
    false: list[Stray]
    benign: list[Label] = []
    notes: list[str] = []


def encode(found: Backtest) -> bytes:
    """Return a backtest as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n"


def decode(data: bytes) -> Backtest:
    """Return the backtest that `encode` wrote; raises ``msgspec.DecodeError`` where it is none."""
    return msgspec.json.decode(data, type=Backtest)
