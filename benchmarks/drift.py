"""How soon a change is noticed, and how often one is that never was: every detector on splices of real streams.

    make bench-drift                                             # about half an hour on two idle cores
    python -m benchmarks.drift --data ../shared/data --splices 20 --alarms 30 --source days errors

Each detector's parameter is fixed on the *tuned* pools of a source, so that it rings once in ``ASKED`` updates there;
what is told is of the *judged* ones, which are of others (`benchmarks.drift_streams`). A delay counts values from the
change to the first alarm, this one included; one that is not found within the horizon counts as the horizon, and as
*missed*. False alarms are counted over streams in which nothing changes, over at least ``--alarms`` that were to be
expected: the *ratio* is what was observed to what was asked. What is found of one detector on one source is written
to ``--keep`` at once, so that a run that was cut short goes on where it was.

Beside the detectors stand ADWIN as River ships it, ADWIN that looks at every value instead of every 32nd, a dummy that
never rings and one that always does. Detectors of numbers watch a vector by `WATCHED` projections and its distance from
the mean of those before: one of them each.
"""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from rich.console import Console
from rich.progress import Progress
from river.drift import ADWIN

from benchmarks.drift_memory import cost
from benchmarks.drift_streams import FORMS, HORIZON, Form, Pool, Source, sources, spliced, stable
from benchmarks.harness import close, table
from engines.drift.budget import calibrated, parameter
from engines.drift.embeddings import directions
from engines.drift.families import EMBEDDINGS, FAMILIES, OF_VECTORS, Detector, Family
from engines.drift.river_detectors import RiverDetector

ASKED = 2000
#: What part of the splices and expected alarms a slow detector gets.
WATCHED = 4  # projections of a vector, a scalar detector each, beside its distance from the mean
SHARE = {"kswin": 0.1}
OURS_OF_NUMBERS = ("short_ranks", "surprises")
REGIME = 5_000  # values of a stable stream before the next pool: many pools, so that a threshold is not of a few


class Never:
    """Rings never."""

    def update(self, value: object) -> bool:
        """Take the next value."""
        return False


class Always:
    """Rings at every value."""

    def update(self, value: object) -> bool:
        """Take the next value."""
        return True


class EachNumber:
    """Scalar detectors on `WATCHED` projections of a vector and its distance from the mean; rings where one does."""

    def __init__(self, make: Callable[[float], Detector[float]], parameter: float) -> None:
        self._make = partial(make, parameter)
        self._mean: Pool = np.zeros(1, np.float32)
        self._count = 0
        self._detectors = [self._make() for _ in range(WATCHED + 1)]

    def update(self, vector: Pool) -> bool:
        """Take the next vector (dim,)."""
        apart = vector - self._mean if self._count else np.zeros_like(vector)
        self._count += 1
        self._mean = self._mean + (apart if self._count > 1 else vector) / min(self._count, 1024)
        numbers = (*(vector @ directions(len(vector)))[:WATCHED], math.sqrt(float(apart @ apart)))
        told = [one.update(float(number)) for one, number in zip(self._detectors, numbers, strict=True)]
        if any(told):
            self._detectors = [self._make() for _ in self._detectors]
        return any(told)


@dataclass(frozen=True)
class Contender:
    """Detectors of one parameter, which is ``fixed``, or found on the tuned pools."""

    family: Family[Any]
    fixed: float | None = None


class Row(msgspec.Struct, frozen=True):
    """What a detector did on one source: delays by form, in values, and how often it rang where nothing changed."""

    source: str
    detector: str
    parameter: float
    delays: dict[Form, list[float]]
    observed: int
    expected: float


def contenders(source: Source) -> dict[str, Contender]:
    """Return by name who is judged on a source, ours first."""
    each_value: Family[float] = Family(lambda delta: RiverDetector(ADWIN(delta=delta, clock=1), unit=None), 4.0, 1e-12)
    fit = {
        name: family
        for name, family in FAMILIES.items()
        if (source.errors or not family.errors) and name != "ranks"  # it is `short_ranks` with more memory
    }
    found = {name: Contender(family) for name, family in fit.items()}
    if source.tuned[0].ndim == 1:
        found[f"{ours(source.name)}, as shipped"] = Contender(
            fit[ours(source.name)], parameter(ours(source.name), ASKED)
        )
    found["adwin, default"] = Contender(fit["adwin"], 0.002)
    found["adwin, each value"] = Contender(each_value)
    if source.tuned[0].ndim > 1:
        found = {name: replace(one, family=on_vectors(one.family)) for name, one in found.items()}
        for name in OURS_OF_NUMBERS:
            del found[name]
        found = {EMBEDDINGS: Contender(OF_VECTORS), **found}
    dummies = {"never": of_one_kind(Never), "always": of_one_kind(Always)}
    return found | {name: Contender(family, 1.0) for name, family in dummies.items()}


def on_vectors(family: Family[float]) -> Family[Any]:
    """Return detectors of vectors that are made of a family's."""
    make: Callable[[float], Any] = partial(EachNumber, family.make)
    return Family(make, family.often, family.seldom)


def of_one_kind(dummy: Callable[[], Any]) -> Family[Any]:
    """Return detectors whose parameter does not matter."""
    return Family(lambda _: dummy(), 1.0, 1.0)


def ours(source: str) -> str:
    """Return the name of our detector on a source."""
    return {"texts": "embeddings", "errors": "error_rates"}.get(source, "surprises")


def judge(data: Path, cache: Path, source_name: str, name: str, splices: int, alarms: int) -> Row:
    """Return what a contender does on a source."""
    source = next(one for one in loaded(data, cache) if one.name == source_name)
    contender = contenders(source)[name]
    splices, alarms = (math.ceil(SHARE.get(name, 1.0) * number) for number in (splices, alarms))
    family = contender.family
    fixed = contender.fixed or calibrated(family, partial(streams, source, source.tuned, 1), ASKED, alarms=alarms)
    make = partial(family.make, fixed)
    delays = {
        form: [delay for index in range(splices) for delay in found(make(), source, form, index)] for form in FORMS
    }
    calm = list({id(before): before for before, _ in source.judged}.values())
    length = math.ceil(alarms * ASKED / len(calm))
    observed = sum(
        detector.update(value)
        for stream in islice(streams(source, calm, 2, length), len(calm))
        for detector in [make()]
        for value in stream
    )
    return Row(source.name, name, fixed, delays, observed, length * len(calm) / ASKED)


def streams(source: Source, pools: Sequence[Pool], seed: int, length: int = REGIME) -> Iterator[Iterator[Any]]:
    """Yield streams in which nothing changes, of ``length`` values each, pool after pool, without end."""
    for index, pool in enumerate(cycle(pools)):
        yield islice(stable(pool, source.block, np.random.default_rng([seed, index])), length)


def found(detector: Any, source: Source, form: Form, index: int) -> Iterator[float]:
    """Yield the delay of each change of one splice, in values, infinite where it was missed."""
    rng = np.random.default_rng([3, FORMS.index(form), index])
    values, changes = spliced(form, *source.judged[index % len(source.judged)], source.block, rng)
    stream = iter(values.tolist() if values.ndim == 1 else values)
    for value in islice(stream, changes[0][0]):
        detector.update(value)
    for start, end in changes:
        delay = math.inf
        for passed, value in enumerate(islice(stream, end - start), 1):
            if detector.update(value) and passed < delay:
                delay = passed
                if end == len(values):
                    break
        yield delay


def median(delays: Sequence[float]) -> float:
    """Return the median delay, a miss counted as the horizon."""
    return float(np.median(np.minimum(delays, HORIZON)))


def missed(delays: Sequence[float]) -> float:
    """Return the share of changes that were missed."""
    return float(np.isinf(delays).mean())


@cache
def loaded(data: Path, kept: Path) -> list[Source]:
    """Return the sources, once a process."""
    return sources(data, kept)


def shown(rows: Sequence[Row]) -> None:
    """Print a table a source."""
    for source in dict.fromkeys(row.source for row in rows):
        table(
            f"{source}: median delay in values, and missed",
            [
                "detector",
                "parameter",
                *(column for form in FORMS for column in (form, "missed")),
                "false alarms",
                "ratio",
            ],
            [
                [
                    row.detector,
                    f"{row.parameter:.3g}",
                    *(
                        cell
                        for form in FORMS
                        for cell in (f"{median(row.delays[form]):.0f}", f"{missed(row.delays[form]):.1%}")
                    ),
                    f"{row.observed} of {row.expected:.0f}",
                    f"{row.observed / row.expected:.2f}",
                ]
                for row in rows
                if row.source == source
            ],
        )


def together(rows: Sequence[Row]) -> None:
    """Print a table of all sources, detector by detector; ratios are to ADWIN's on the same ones."""
    named = [(row.detector.replace(ours(row.source), "ours"), row) for row in rows]
    table(
        "all sources on which it was judged: median delay to tuned ADWIN's on these, and missed",
        ["detector", "sources", *(column for form in FORMS for column in (form, "missed")), "false alarms", "ratio"],
        [
            [
                name,
                len(own),
                *(
                    cell
                    for form in FORMS
                    for cell in (
                        f"{median(pooled(own, form)) / median(pooled(adwin, form)):.2f}",
                        f"{missed(pooled(own, form)):.1%}",
                    )
                ),
                f"{sum(row.observed for row in own)} of {sum(row.expected for row in own):.0f}",
                f"{alarms_to_one(own):.2f}",
            ]
            for name in dict.fromkeys(name for name, _ in named)
            for own in [[row for of, row in named if of == name]]
            for adwin in [[row for of, row in named if of == "adwin" and row.source in {one.source for one in own}]]
        ],
    )


def figures(rows: Sequence[Row]) -> dict[str, float]:
    """Return what the closing line says: of ours over all sources, the form in which it does worst."""
    own = [row for row in rows if row.detector == ours(row.source)]
    adwin = [row for row in rows if row.detector == "adwin"]
    told: dict[str, float] = {}
    for form in FORMS:
        delays, others = pooled(own, form), pooled(adwin, form)
        told[f"median_delay_ratio_to_adwin: {form}"] = round(median(delays) / median(others), 3)
        told[f"missed: {form}"] = round(missed(delays), 4)
    for name in ("median_delay_ratio_to_adwin", "missed"):
        told[name] = max(told[f"{name}: {form}"] for form in FORMS)
    told["false_alarm_ratio"] = alarms_to_one(own)
    return told | {f"false_alarm_ratio: {row.source}": alarms_to_one([row]) for row in own}


def pooled(rows: Sequence[Row], form: Form) -> list[float]:
    """Return the delays of all rows."""
    return [delay for row in rows for delay in row.delays[form]]


def alarms_to_one(rows: Sequence[Row]) -> float:
    """Return how many alarms there were to one that was asked for, where nothing changed."""
    return round(sum(row.observed for row in rows) / sum(row.expected for row in rows), 3)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with stocknet, nab and the others")
    parser.add_argument(
        "--cache", type=Path, default=Path("build/bench/embeddings"), help="folder that embeddings are kept in"
    )
    parser.add_argument("--splices", type=int, default=40, help="of each form and source")
    parser.add_argument("--alarms", type=int, default=30, help="to be expected where nothing changes, of each source")
    parser.add_argument("--source", nargs="+", help="only these sources")
    parser.add_argument("--detector", nargs="+", help="only these detectors, beside ours and ADWIN")
    parser.add_argument("--keep", type=Path, help="folder that rows are kept in, and those that are there are not made")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--cost", type=int, metavar="UPDATES", help="measure CPU and memory over so many, and stop")
    options = parser.parse_args()
    if options.cost:
        cost(options.cost, options.detector or ())
        return
    if not options.data:
        parser.error("expected --data FOLDER, or --cost UPDATES")
    work = [
        (source.name, name)
        for source in loaded(options.data, options.cache)
        if not options.source or source.name in options.source
        for name in contenders(source)
        if not options.detector or name in {ours(source.name), "adwin", *options.detector}
    ]
    # What is asked about comes first, what takes long last.
    work.sort(key=lambda one: (one[1] not in {ours(one[0]), "adwin"}, one[1] in SHARE))
    kept = options.keep / f"{options.splices}-{options.alarms}" if options.keep else None
    judged = partial(judge, options.data, options.cache, splices=options.splices, alarms=options.alarms)
    with ProcessPoolExecutor(options.processes) as pool, Progress(console=Console(stderr=True)) as progress:
        found = pool.map(partial(once, kept, judged), *zip(*work, strict=True))
        rows = list(progress.track(found, total=len(work), description="detectors"))
    shown(rows)
    together(rows)
    close(benchmark="drift", asked=ASKED, splices=options.splices, **figures(rows))


def once(kept: Path | None, judged: Callable[[str, str], Row], source: str, name: str) -> Row:
    """Return what a contender does on a source, from the folder where it was written there."""
    path = kept and kept / f"{source}-{name.replace(' ', '-')}.msgpack"
    if path and path.exists():
        return msgspec.msgpack.decode(path.read_bytes(), type=Row)
    row = judged(source, name)
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(msgspec.msgpack.encode(row))  # misses are infinite
    return row


if __name__ == "__main__":
    main()
