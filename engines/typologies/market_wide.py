"""Market-wide: more instruments begin an anomaly within minutes than their usual rate explains.

Definition. Among many instruments some always ring: an anomaly of one is no news of the market. Within ``window_ns`` k
different instruments opened an episode; were they independent, at the trailing rate of openings, their number would be
Poisson distributed (Ross, Stochastic Processes, 2.1), and the p-value is its tail from k on. So the question is put
once, to the market, and not once an instrument: what would be many tests is one.

Regulation: none by itself. It says that a cause is common, which speaks against the misconduct of one issuer's traders.
"""

from __future__ import annotations

import math

import msgspec

from engines.typologies import TypologySpec
from schemas.alerts import Explanation, RuleResult

#: Episodes of which it is remembered that they were counted: after a crash a worker announces some again.
COUNTED = 1_024


class CrowdConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters.

    ``window_ns``: openings within it count together. ``half_life_ns``: how fast the usual rate forgets.
    ``least_expected``: openings a window that are taken for usual at least. ``least_instruments``: fewer are no crowd.
    ``evidence_at_half``: -log10 of the p-value at which the score is 0.5.
    """

    window_ns: int = 300_000_000_000
    half_life_ns: int = 86_400_000_000_000
    least_expected: float = 0.5
    least_instruments: int = 3
    evidence_at_half: float = 3.0


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
    """What is kept of the market: bounded by the openings of a window and `COUNTED`.

    ``recent`` holds (ts_event ns, instrument), oldest first; ``rate`` openings a ns, as of ``learned_ns``.
    """

    recent: list[tuple[int, str]] = []
    counted: list[str] = []
    rate: float = 0.0
    learned_ns: int = 0
    newest_ns: int = 0
    late: int = 0


def join(config: CrowdConfig, crowd: Crowd, ts: int, instrument: str, episode_id: str) -> bool:
    """Take an opening in; False where it was counted before, or came later than a window after the newest."""
    if episode_id in crowd.counted:
        return False
    crowd.counted = [*crowd.counted[1 - COUNTED :], episode_id]
    if ts <= crowd.newest_ns - config.window_ns:
        crowd.late += 1
        return False
    crowd.newest_ns = max(crowd.newest_ns, ts)
    crowd.recent = sorted([*crowd.recent, (ts, instrument)])
    return True


def leave(config: CrowdConfig, crowd: Crowd, now_ns: int) -> int:
    """Let the oldest opening go if its window has passed at ``now_ns``, and return when it did; 0 if none has.

    Only what has left is learnt as usual, so that a crowd does not make itself usual while it gathers.
    """
    due_ns = deadline(config, crowd)
    if not 0 < due_ns <= now_ns:
        return 0
    crowd.recent = crowd.recent[1:]
    crowd.rate = _rate(config, crowd, due_ns) + math.log(2) / config.half_life_ns
    crowd.learned_ns = crowd.newest_ns = max(due_ns, crowd.newest_ns)
    return due_ns


def deadline(config: CrowdConfig, crowd: Crowd) -> int:
    """Return the event time (ns) at which the oldest opening leaves its window, 0 if there is none."""
    return crowd.recent[0][0] + config.window_ns if crowd.recent else 0


def score(config: CrowdConfig, crowd: Crowd) -> float:
    """Return how far the crowd is beyond the usual, in [0, 1]: 0.5 at a p-value of 10^-``evidence_at_half``.

    Example
    -------
    >>> config, crowd = CrowdConfig(), Crowd()
    >>> for second, name in enumerate(("A", "B", "C", "D", "E")):
    ...     _ = join(config, crowd, second * 10**9, name, f"episode of {name}")
    >>> round(score(config, crowd), 2), round(p_value(0.5, 5), 6)
    (0.56, 0.000172)
    """
    count = len({instrument for _, instrument in crowd.recent})
    if count < config.least_instruments:
        return 0.0
    evidence = -math.log10(p_value(_expected(config, crowd), count))
    return evidence / (evidence + config.evidence_at_half)


def p_value(expected: float, count: int) -> float:
    """Return the probability of ``count`` or more where ``expected`` (> 0) are usual: the Poisson tail."""
    term = math.exp(count * math.log(expected) - expected - math.lgamma(count + 1))
    total, k = term, count
    while term > total * 1e-16:
        k += 1
        term *= expected / k
        total += term
    return min(max(total, 1e-300), 1.0)


def explain(config: CrowdConfig, crowd: Crowd) -> Explanation:
    """Say which count was met with which expectation, and what would clear it."""
    names = sorted({instrument for _, instrument in crowd.recent})
    expected = _expected(config, crowd)
    fewest = config.least_instruments
    while p_value(expected, fewest) > 10**-config.evidence_at_half:
        fewest += 1
    minutes = config.window_ns / 60e9
    return Explanation(
        rules=[
            RuleResult(name="instruments", value=float(len(names)), threshold=float(fewest), unit="instruments"),
            RuleResult(
                name="usual", value=expected, threshold=config.least_expected, unit=f"openings in {minutes:g} min"
            ),
            RuleResult(
                name="p_value", value=p_value(expected, len(names)), threshold=10**-config.evidence_at_half, unit=""
            ),
        ],
        clears=f"fewer than {fewest} instruments within {minutes:g} min; these are {', '.join(names)}",
    )


def _rate(config: CrowdConfig, crowd: Crowd, now_ns: int) -> float:
    return crowd.rate * math.pow(0.5, max(0, now_ns - crowd.learned_ns) / config.half_life_ns)


def _expected(config: CrowdConfig, crowd: Crowd) -> float:
    return max(config.least_expected, _rate(config, crowd, crowd.newest_ns) * config.window_ns)
