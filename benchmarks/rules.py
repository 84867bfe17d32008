"""Scenarios judged a second of CPU on one core: one evaluation is one scenario at one moment of one of its typologies.

``python -m benchmarks.rules``: three scenarios of four typologies each, scores of one instrument ten a second, half of
them of eight accounts; given in frames of 500 moments and one by one.
"""

from __future__ import annotations

import random
import time

from benchmarks.harness import close, table
from engines.rules import Scenario
from engines.scenarios import Kept, Moment, judge

MOMENTS = 100_000
TYPOLOGIES = ("pump_and_dump", "adverse_text", "market_anomaly", "elevated_risk")
SCENARIOS = tuple(
    Scenario(name=f"s{number}", title="A scenario", weights=dict.fromkeys(TYPOLOGIES, 0.2 * number))
    for number in (3, 4, 5)
)


def evaluations_s(moments: list[Moment], frame: int) -> float:
    """Return how many evaluations a second of CPU ``moments`` take, given in frames of so many."""
    kept: Kept = {}
    made, began_s = 0, time.process_time()
    for first in range(0, len(moments), frame):
        made += sum(map(len, judge(SCENARIOS, kept, moments[first : first + frame])))
    return made / (time.process_time() - began_s)


def main() -> None:
    """Measure, print a table and the closing line."""
    rng = random.Random(7)
    accounts = ("", *(f"account {number}" for number in range(8)))
    for of, names in (("the instrument", accounts[:1]), ("eight accounts too", accounts)):
        moments = [
            Moment(at * 100_000_000, rng.choice(TYPOLOGIES), rng.choice((accounts[0], rng.choice(names))), rng.random())
            for at in range(MOMENTS)
        ]
        found = {frame: evaluations_s(moments, frame) for frame in (500, 1)}
        rows = [(frame, int(a_second)) for frame, a_second in found.items()]
        table(f"Scenarios, scores of {of}", ("moments a frame", "evaluations a second of CPU"), rows)
    close(evaluations_s=int(found[500]), evaluations_s_one_by_one=int(found[1]))


if __name__ == "__main__":
    main()
