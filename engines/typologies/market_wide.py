"""Market-wide: more instruments begin an anomaly within minutes than their usual rate explains.

Definition. Among many instruments some always ring: an anomaly of one is no news of the market. At an opening, k
different instruments have opened an episode within ``window_ns``. Were openings independent, those besides the one that
is looked at would be Poisson distributed; their rate is learnt, with a Gamma prior, so what is to be expected is
negative binomial (Gelman et al., Bayesian Data Analysis, 2.6), and the p-value is its tail from k - 1 on. Every opening
asks the question, so the p-value times the openings of a day bounds the **false crowds a day**, the figure that the
score is made of.

Openings come in sessions. The rate is therefore one per active time: of a gap between two openings no more counts than
``longest_gap_ns``, and nights change nothing.

Regulation: none by itself. It says that a cause is common, which speaks against the misconduct of one issuer's traders.
"""

from __future__ import annotations

import math
from bisect import insort
from typing import NamedTuple

import msgspec

from engines.typologies import TypologySpec
from schemas.alerts import Explanation, RuleResult

#: What it speaks of.
SCOPE = "market"
#: Episodes of which it is remembered that they were counted: after a crash a worker announces some again.
COUNTED = 1_024
#: Openings of one window that are looked at; in a crash of thousands of instruments the first of them are let go.
RECENT = 2_048
#: Instruments that an explanation names.
NAMED = 20
DAY_NS = 86_400_000_000_000


class CrowdConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters.

    ``window_ns``: openings within it count together. ``half_life_ns``: active time in which what was learnt of the rate
    loses half its weight. ``longest_gap_ns``: more of a gap is no active time. ``prior_ns``: before anything is learnt,
    one opening in so much time is expected. ``false_a_day``: the score is 0.5 where so many such crowds a day would
    come by chance.
    """

    window_ns: int = 300_000_000_000
    half_life_ns: int = DAY_NS
    longest_gap_ns: int = 3_600_000_000_000
    prior_ns: int = 600_000_000_000
    false_a_day: float = 0.01


SPEC = TypologySpec(
    name="market_wide",
    version="1",
    title="Anomalies across the market",
    open=0.5,
    critical=0.7,
    close=0.35,
    hold_ns=600_000_000_000,
)


class Crowd(msgspec.Struct):
    """What is kept of the market: at most `RECENT` openings and `COUNTED` ids.

    ``recent`` holds (ts_event ns, instrument), oldest first. ``openings`` in ``active_ns`` is what was learnt, both
    fading; ``left_ns`` is when the last opening left its window.
    """

    recent: list[tuple[int, str]] = []
    counted: list[str] = []
    openings: float = 0.0
    active_ns: float = 0.0
    left_ns: int = 0
    newest_ns: int = 0
    late: int = 0


class Finding(NamedTuple):
    """What a crowd amounts to: how many instruments, the usual number of openings besides one, the false a day."""

    instruments: int
    usual: float
    p_value: float
    false_a_day: float


def join(config: CrowdConfig, crowd: Crowd, ts: int, instrument: str, episode_id: str) -> bool:
    """Take an opening in; False where it was counted before, or came later than a window after the newest."""
    if episode_id in crowd.counted:
        return False
    crowd.counted = [*crowd.counted[1 - COUNTED :], episode_id]
    if ts <= crowd.newest_ns - config.window_ns:
        crowd.late += 1
        return False
    crowd.newest_ns = max(crowd.newest_ns, ts)
    insort(crowd.recent, (ts, instrument))
    del crowd.recent[:-RECENT]
    return True


def leave(config: CrowdConfig, crowd: Crowd, now_ns: int) -> int:
    """Let the oldest opening go if its window has passed at ``now_ns``, and return when it did; 0 if none has.

    Only what has left is learnt as usual, so that a crowd does not make itself usual while it gathers.
    """
    due_ns = deadline(config, crowd)
    if not 0 < due_ns <= now_ns:
        return 0
    del crowd.recent[0]
    gap_ns = min(max(0, due_ns - crowd.left_ns), config.longest_gap_ns) if crowd.left_ns else 0
    fades = math.pow(0.5, gap_ns / config.half_life_ns)
    crowd.openings, crowd.active_ns = crowd.openings * fades + 1.0, crowd.active_ns * fades + gap_ns
    crowd.left_ns = max(due_ns, crowd.left_ns)
    crowd.newest_ns = max(due_ns, crowd.newest_ns)
    return due_ns


def deadline(config: CrowdConfig, crowd: Crowd) -> int:
    """Return the event time (ns) at which the oldest opening leaves its window, 0 if there is none."""
    return crowd.recent[0][0] + config.window_ns if crowd.recent else 0


def find(config: CrowdConfig, crowd: Crowd) -> Finding:
    """Return what the crowd amounts to now."""
    return _finding(config, crowd, len({instrument for _, instrument in crowd.recent}))


def score(config: CrowdConfig, finding: Finding) -> float:
    """Return how far a crowd is beyond chance, in [0, 1]: 0.5 at ``config.false_a_day``, 0 at one a day.

    Example
    -------
    >>> config, crowd = CrowdConfig(), Crowd()
    >>> for second in range(12):
    ...     _ = join(config, crowd, second * 10**9, f"I{second}", f"episode {second}")
    >>> found = find(config, crowd)
    >>> found.instruments, round(found.usual, 2), round(score(config, found), 2)
    (12, 0.5, 0.61)
    """
    if finding.instruments < 2:
        return 0.0
    evidence = max(0.0, -math.log10(finding.false_a_day))
    return evidence / (evidence - math.log10(config.false_a_day))


def p_value(openings: float, time_ns: float, window_ns: float, count: int) -> float:
    """Return the probability of ``count`` or more openings in a window, after ``openings`` in ``time_ns``.

    The tail of a negative binomial with ``openings`` successes, each with probability time / (time + window).
    """
    fails = window_ns / (time_ns + window_ns)
    log_term = (
        math.lgamma(openings + count)
        - math.lgamma(openings)
        - math.lgamma(count + 1)
        - openings * math.log1p(window_ns / time_ns)
        + count * math.log(fails)
    )
    term = total = math.exp(log_term)
    k = count
    while term > total * 1e-16 or k <= openings * fails / (1.0 - fails):
        term *= fails * (openings + k) / (k + 1)
        k += 1
        total += term
    return min(max(total, 1e-300), 1.0)


def explain(config: CrowdConfig, crowd: Crowd) -> Explanation:
    """Say which count was met with which expectation, and what would clear it."""
    names = sorted({instrument for _, instrument in crowd.recent})
    found = _finding(config, crowd, len(names))
    fewest = 2
    while _finding(config, crowd, fewest).false_a_day > config.false_a_day:
        fewest += 1
    minutes = config.window_ns / 60e9
    named = ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
    return Explanation(
        rules=[
            RuleResult(name="instruments", value=float(len(names)), threshold=float(fewest), unit="instruments"),
            RuleResult(name="usual", value=found.usual, threshold=0.0, unit=f"openings in {minutes:g} min"),
            RuleResult(
                name="false_crowds", value=found.false_a_day, threshold=config.false_a_day, unit="1/d", at_most=True
            ),
        ],
        clears=f"fewer than {fewest} instruments within {minutes:g} min; these are {named}",
    )


def _finding(config: CrowdConfig, crowd: Crowd, instruments: int) -> Finding:
    openings, time_ns = crowd.openings + 1.0, crowd.active_ns + config.prior_ns
    # Whoever asks is one of them: chance has to bring the others.
    p = p_value(openings, time_ns, config.window_ns, max(0, instruments - 1))
    return Finding(instruments, openings / time_ns * config.window_ns, p, p * openings / time_ns * DAY_NS)
