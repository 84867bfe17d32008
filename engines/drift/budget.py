"""Detectors by their budget: the expected run time, how many updates lie between two false alarms on the average.

What parameter that takes was found by simulation, on independent values (errors: one in five), and stands in
engines/data/drift_run_times.json, which `python -m engines.drift.budget` writes anew. Run times between those in the
table are interpolated, longer ones extrapolated. On streams whose values hang together
alarms are more frequent than that: `calibrated` finds the parameter on streams of the kind instead.

Of many detectors at once each gets its share of the budget (`shared`), or it is asked after the fact which of them
moved (`moved`), by how rare a statistic is (`p_value`).
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache, partial
from itertools import count, islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from engines.drift.embeddings import Vectors
from engines.drift.families import EMBEDDINGS, FAMILIES, OF_VECTORS, Detector, Family, Value

TABLE = Path(__file__).parent.parent / "data" / "drift_run_times.json"
RUN_TIMES = (300, 1000, 3000, 10_000, 30_000, 100_000)
#: The longest that is simulated, of others 3,000: updates take long. By `short_ranks` the daemon watches.
LONGEST = {"ranks": 1000, "hddm_w": 1000, "error_rates": 10_000, "surprises": 10_000, "short_ranks": 100_000}
#: The others have no budget. DDM, EDDM and HDDM_A ring soon after they began anew or hardly ever, so that a mean says
#: nothing of the next stream; KSWIN takes too long to simulate.
BUDGETED = (
    "ranks",
    "short_ranks",
    "surprises",
    "error_rates",
    "embeddings",
    "adwin",
    "page_hinkley",
    "hddm_w",
    "fhddm",
)
ALARMS = 100
ALARMS_A_STREAM = 10
STEPS = 8
ENOUGH = 0.03  # of alarms to one that was to be expected, its logarithm
NEAR = 0.2  # of the way to a parameter's ends

Floats = npt.NDArray[np.float64]
Row = tuple[int, float]  # run time, parameter


class BudgetError(ValueError):
    """A budget that cannot be held: the message says which ones can."""


def calibrated(
    family: Family[Value], streams: Callable[[], Iterator[Iterator[Value]]], asked: float, *, alarms: int = ALARMS
) -> float:
    """Return the parameter at which a family's detectors have the expected run time ``asked`` on streams like these.

    Parameters
    ----------
    family
        Its parameter is looked for between its two ends; the nearer end if it is beyond.
    streams
        Gives streams in which nothing changes, the same each time, more than will be used; each gets a new detector.
    asked
        The expected run time, in updates.
    alarms
        How many alarms a parameter is judged on at most; fewer where it is plain earlier.
    """
    low, high = 0.0, 1.0
    above, below = 1.0, -1.0  # `_excess` at these, once it is known
    for _ in range(STEPS):
        middle = low + (high - low) * min(max(above / (above - below), 0.2), 0.8)
        excess = _excess(partial(family.make, family.between(middle)), streams(), asked, alarms)
        if abs(excess) < ENOUGH:
            return family.between(middle)
        if excess > 0:
            low, above = middle, excess
        else:
            high, below = middle, excess
    return family.between(low + (high - low) * above / (above - below))


def _excess(
    make: Callable[[], Detector[Value]], streams: Iterator[Iterator[Value]], asked: float, alarms: int
) -> float:
    """Return the logarithm of how many alarms there are to one that was to be expected."""
    rang = seen = 0
    for stream in streams:
        detector = make()
        for value in stream:
            rang += detector.update(value)
            seen += 1
            expected = seen / asked
            if expected >= alarms or abs(rang - expected) > 4 * math.sqrt(expected) + 4:  # plain: four deviations
                return math.log((rang + 0.5) / (expected + 0.5))
    raise ValueError(f"expected streams of {alarms * asked:g} values in all, found {seen}")


@cache
def _table() -> dict[str, list[tuple[float, float]]]:
    """Return by family the expected run times and their parameters, run times rising."""
    return {name: [(row[0], row[1]) for row in rows] for name, rows in json.loads(TABLE.read_text()).items()}


def parameter(name: str, asked: float) -> float:
    """Return the parameter of a family's detector with the expected run time ``asked``, in updates.

    Raises
    ------
    BudgetError
        No such family, none whose run times are known (`BUDGETED`), or the run time is too short for its detectors.
    """
    if name not in FAMILIES and name != EMBEDDINGS:
        raise BudgetError(f"no detector {name!r}: there are {', '.join((*FAMILIES, EMBEDDINGS))}")
    if name not in BUDGETED:
        raise BudgetError(f"{name} has no budget: its run times are not known; those of {', '.join(BUDGETED)} are")
    times, parameters = np.log(_table()[name]).T
    if not math.log(asked) >= times[0]:
        raise BudgetError(f"{name}: expected a run time of {math.exp(times[0]):.0f} updates or more, found {asked:g}")
    return math.exp(_line(math.log(asked), times, parameters))


def time_of(name: str, value: float) -> float:
    """Return the expected run time, in updates, of a family's detector with the parameter ``value``."""
    times, parameters = np.log(_table()[name]).T
    order = np.argsort(parameters)
    return math.exp(_line(math.log(value), parameters[order], times[order]))


def detector(name: str, asked: float) -> Detector[float]:
    """Return a detector of numbers (of vectors: `of_vectors`) that rings about once in ``asked`` updates by chance.

    Example
    -------
    >>> watch = detector("ranks", 10_000)
    >>> any(watch.update(float(i * i % 101)) for i in range(300))
    False
    """
    found = parameter(name, asked)
    return FAMILIES[name].make(found)


def of_vectors(asked: float) -> Detector[Vectors]:
    """Return a detector of vectors that rings about once in ``asked`` updates where nothing changes."""
    return OF_VECTORS.make(parameter(EMBEDDINGS, asked))


def shared(asked: float, among: int) -> float:
    """Return the run time of each of ``among`` detectors that together ring once in ``asked`` updates (or rarer)."""
    return asked * among


def p_value(run_time: float, updates: int) -> float:
    """Return the probability that a detector with this expected run time rings within ``updates`` by chance."""
    return -math.expm1(-updates / run_time)


def moved(p_values: Sequence[float], rate: float) -> npt.NDArray[np.bool_]:
    """Return which of the streams (n,) have moved, of which a share ``rate`` is expected not to have.

    Y. Benjamini, Y. Hochberg (1995), Controlling the false discovery rate, JRSS B 57(1).

    Example
    -------
    >>> moved([0.001, 0.6, 0.03, 0.04], 0.05).tolist()
    [True, False, False, False]
    """
    values = np.asarray(p_values, np.float64)
    ordered = np.sort(values)
    passed = np.flatnonzero(ordered <= rate * np.arange(1, len(values) + 1) / len(values))
    return values <= (ordered[passed[-1]] if len(passed) else -1.0)


def normals(seed: int) -> Iterator[float]:
    """Yield independent normal values without end."""
    rng = np.random.default_rng(seed)
    while True:
        yield from rng.standard_normal(4096).tolist()


def errors(seed: int, rate: float = 0.2) -> Iterator[float]:
    """Yield independent errors (1) and hits (0) without end."""
    rng = np.random.default_rng(seed)
    while True:
        yield from (rng.random(4096) < rate).astype(float).tolist()


def vectors(seed: int, dim: int = 32) -> Iterator[Vectors]:
    """Yield vectors (dim,) of independent normal values without end."""
    rng = np.random.default_rng(seed)
    while True:
        yield from rng.standard_normal((256, dim), np.float32)


def stable(steady: Callable[[int], Iterator[Value]], asked: float) -> Iterator[Iterator[Value]]:
    """Yield streams without end, in which nothing changes and ``ALARMS_A_STREAM`` alarms are to be expected.

    Many rather than one: what takes its unit from a stream's first values rings more in one stream than in another.
    """
    for seed in count(11):
        yield islice(steady(seed), math.ceil(ALARMS_A_STREAM * asked))


def found(family: Family[Value], steady: Callable[[int], Iterator[Value]], times: Sequence[int]) -> list[Row]:
    """Return the parameters of expected run times, by simulation; of those after the second, near the line of these."""
    rows: list[Row] = []
    for time in times:
        near = family
        if len(rows) > 1:
            guess = math.exp(_line(math.log(time), *np.log(rows).T))
            often, seldom = (guess * (end / guess) ** NEAR for end in (family.often, family.seldom))
            near = replace(family, often=often, seldom=seldom)
        rows.append((time, float(f"{calibrated(near, partial(stable, steady, time), time):.5g}")))
    return rows


def _line(x: float, xs: Floats, ys: Floats) -> float:
    """Return y at ``x`` on the line through points (n,), ``xs`` rising; beyond its ends it goes on as it ended."""
    right = min(max(int(np.searchsorted(xs, x)), 1), len(xs) - 1)
    share = (x - xs[right - 1]) / (xs[right] - xs[right - 1])
    return float(ys[right - 1] + share * (ys[right] - ys[right - 1]))


def observed(family: Family[Value], parameter: float, streams: Iterator[Iterator[Value]], asked: float) -> float:
    """Return how many alarms there were to one that was to be expected, where `ALARMS` were."""
    rang = 0
    for stream in islice(streams, ALARMS // ALARMS_A_STREAM):
        detector = family.make(parameter)
        rang += sum(map(detector.update, stream))
    return rang / ALARMS


def main() -> None:
    """Simulate, and write the table."""
    parser = argparse.ArgumentParser(description="Find the parameters that give each detector its expected run times.")
    parser.add_argument("--out", type=Path, default=TABLE)
    parser.add_argument("--only", choices=BUDGETED, nargs="+", default=BUDGETED)
    parser.add_argument("--check", type=float, metavar="RUN_TIME", help="say how often they ring at it, write nothing")
    options = parser.parse_args()
    table = json.loads(options.out.read_text()) if options.out.exists() else {}
    for name in options.only:
        times = [time for time in RUN_TIMES if time <= LONGEST.get(name, 3000)]
        if name == EMBEDDINGS:
            rows = simulated(name, OF_VECTORS, vectors, times, options.check)
        else:
            rows = simulated(name, FAMILIES[name], errors if FAMILIES[name].errors else normals, times, options.check)
        if rows:
            table[name] = rows
            options.out.write_text(json.dumps({one: table[one] for one in BUDGETED if one in table}, indent=1) + "\n")


def simulated(
    name: str,
    family: Family[Value],
    steady: Callable[[int], Iterator[Value]],
    times: Sequence[int],
    check: float | None,
) -> list[Row]:
    """Print what was found, and return it; of a run time to ``check`` how often it rings, and nothing."""
    if check is None:
        rows = found(family, steady, times)
        print(name, rows, flush=True)
        return rows
    of_others = islice(stable(steady, check), ALARMS, None)  # than those that the table is of
    ratio = observed(family, parameter(name, check), of_others, check)
    print(f"{name}: {ratio:.2f} alarms to one expected, over {ALARMS}", flush=True)
    return []


if __name__ == "__main__":
    main()
