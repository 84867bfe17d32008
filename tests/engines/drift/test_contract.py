"""What every detector of drift keeps, whoever wrote it: its eyes, its memory, and its budget where it has one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from engines.drift.budget import BUDGETED, detector, errors, normals, of_vectors, parameter, vectors
from engines.drift.embeddings import EmbeddingShift, whitening
from engines.drift.families import EMBEDDINGS, FAMILIES, OF_VECTORS, Detector
from engines.drift.ranks import RankShift
from engines.drift.surprises import SurpriseShift

ASKED = 300
#: Parameters of those that have no budget.
OWN = {"kswin": 1e-4, "ddm": 3.0, "eddm": 0.9, "hddm_a": 0.001}
#: They look for more errors, and never for fewer.
RISES_ONLY = {"ddm", "eddm", "fhddm"}

every = pytest.mark.parametrize("name", [*FAMILIES, EMBEDDINGS])
our_own = pytest.mark.parametrize("name", ["ranks", "short_ranks", "surprises"])
of_numbers = pytest.mark.parametrize("name", [name for name, family in FAMILIES.items() if not family.errors])


def made(name: str, asked: float = ASKED) -> Detector[Any]:
    if name == EMBEDDINGS:
        return of_vectors(asked)
    return FAMILIES[name].make(OWN[name]) if name in OWN else detector(name, asked)


def values(name: str, count: int, *, changed: bool = False, seed: int = 3) -> list[Any]:
    """Return independent values such as the detector takes, of before a change or of after it."""
    rng = np.random.default_rng([seed, changed])
    if name == EMBEDDINGS:
        return list(rng.normal(float(changed), size=(count, 16)).astype(np.float32))
    if FAMILIES[name].errors:
        return (rng.random(count) < (0.8 if changed else 0.2)).astype(float).tolist()
    return rng.normal(3.0 * changed, size=count).tolist()


def rung(watch: Detector[Any], stream: list[Any]) -> list[int]:
    """Return at which of the values, from 0 on, it rings."""
    return [index for index, value in enumerate(stream) if watch.update(value)]


@pytest.mark.parametrize("name", BUDGETED)
def test_it_rings_as_often_as_its_budget_allows_where_nothing_changes(name: str) -> None:
    streams, expected = 10, 100
    steady: Callable[[int], Iterator[Any]] = vectors
    if name != EMBEDDINGS:
        steady = errors if FAMILIES[name].errors else normals
    alarms = [rung(made(name), list(islice(steady(seed), expected * ASKED // streams))) for seed in range(streams)]
    assert 0.7 * expected <= sum(map(len, alarms)) <= 1.4 * expected


@every
def test_a_change_is_found(name: str) -> None:
    watch = made(name, asked=10_000)
    rung(watch, values(name, 400))
    assert rung(watch, values(name, 150, changed=True))


@every
def test_after_an_alarm_the_new_is_the_usual(name: str) -> None:
    watch = made(name, asked=10_000)
    rung(watch, values(name, 400))
    after = values(name, 800, changed=True)
    assert len(rung(watch, after)) <= 3
    assert not rung(watch, values(name, 200, changed=True, seed=4))


@every
def test_what_came_back_is_found_too(name: str) -> None:
    if name in RISES_ONLY:
        pytest.skip("looks for more errors only")
    watch = made(name, asked=10_000)
    rung(watch, values(name, 400))
    rung(watch, values(name, 400, changed=True))
    assert rung(watch, values(name, 200, seed=4))


@every
@pytest.mark.parametrize("cut", [0, 1, 47, 97, 333, 430])
def test_a_packed_detector_goes_on_as_if_it_had_never_stopped(name: str, cut: int) -> None:
    stream = values(name, 400) + values(name, 100, changed=True)
    through, first, second = made(name), made(name), made(name)
    told = rung(through, stream)
    before = rung(first, stream[:cut])
    second.restore(first.pack())
    assert before + [cut + at for at in rung(second, stream[cut:])] == told
    assert second.pack() == through.pack()


@every
def test_equal_streams_are_judged_alike(name: str) -> None:
    stream = values(name, 300) + values(name, 100, changed=True)
    assert rung(made(name), stream) == rung(made(name), stream)


def of_sums() -> str:
    """Return what detectors that sum say and keep."""
    told: list[object] = []
    for watch in (RankShift(9.0), SurpriseShift(9.0)):
        walk = np.random.default_rng(1).normal(size=400).cumsum().tolist()
        told += [[(watch.update(value), watch.statistic) for value in walk], watch.pack()]
    vectors = np.random.default_rng(1).normal(size=(60, 384)).astype(np.float32)
    embeddings = EmbeddingShift(9.0)
    return str([told, [embeddings.update(vector) for vector in vectors], embeddings.pack()])


def test_what_is_said_and_kept_does_not_hang_on_the_processors_blas() -> None:
    of_another = subprocess.run(
        [sys.executable, "-c", f"from {__name__} import of_sums; print(of_sums(), end='')"],
        env=os.environ | {"OPENBLAS_CORETYPE": "Prescott"},
        check=True,
        capture_output=True,
        text=True,
    )
    assert of_another.stdout == of_sums()


@of_numbers
def test_units_do_not_matter(name: str) -> None:
    stream = values(name, 300) + values(name, 100, changed=True)
    assert rung(made(name), [8 * value for value in stream]) == rung(made(name), stream)


@every
def test_memory_is_bounded(name: str) -> None:
    watch = made(name, asked=10_000)
    sizes = []
    for _ in range(3):
        rung(watch, values(name, 1500))
        sizes.append(len(watch.pack()))
    assert max(sizes) < 250_000
    assert sizes[2] < 1.5 * sizes[1] + 1000


@every
@pytest.mark.parametrize("data", [b"", b"nonsense of another kind", b"\x94\xc0\x00\x01\x81\xa1x\x01"])
def test_other_bytes_are_refused(name: str, data: bytes) -> None:
    with pytest.raises(ValueError, match="expected"):
        made(name).restore(data)


@our_own
def test_ours_care_for_order_only(name: str) -> None:
    stream = values(name, 500) + values(name, 60, changed=True)
    assert rung(made(name), np.exp(stream).tolist()) == rung(made(name), stream)


@our_own
def test_ours_hold_their_budget_where_values_are_equal_or_far_out(name: str) -> None:
    for stream in (discrete(2), errors(2, 0.03), far_out(2)):
        alarms = len(rung(made(name), list(islice(stream, 100 * ASKED))))
        assert 60 <= alarms <= 150


def discrete(seed: int) -> Iterator[float]:
    rng = np.random.default_rng(seed)
    while True:
        yield float(rng.poisson(0.3))


def far_out(seed: int) -> Iterator[float]:
    rng = np.random.default_rng(seed)
    while True:
        yield float(rng.standard_t(1.5))


@our_own
def test_ours_find_a_change_of_spread(name: str) -> None:
    watch, rng = made(name, 10_000), np.random.default_rng(1)
    assert not rung(watch, rng.normal(size=400).tolist())
    assert rung(watch, rng.normal(scale=3, size=100).tolist())


def test_surprises_show_a_spread_that_narrows() -> None:
    watch, rng = made("surprises", 10_000), np.random.default_rng(1)
    assert not rung(watch, rng.normal(size=400).tolist())
    assert rung(watch, rng.normal(scale=0.2, size=200).tolist())


def test_surprises_show_few_values_of_something_new_among_the_old() -> None:
    watch, rng = made("surprises", 10_000), np.random.default_rng(1)
    mixed = np.where(rng.random(150) < 0.15, rng.normal(6, size=150), rng.normal(size=150))
    assert not rung(watch, rng.normal(size=600).tolist())
    assert rung(watch, mixed.tolist())


def test_surprises_show_that_values_hang_together_no_longer() -> None:
    watch, rng = made("surprises", 10_000), np.random.default_rng(2)
    walk = [0.0]
    for step in rng.normal(size=800).tolist():
        walk.append(0.8 * walk[-1] + step)
    assert not rung(watch, walk)
    assert rung(watch, rng.permutation(walk[-300:]).tolist())


@our_own
def test_a_series_that_stood_still_does_not_ring_at_its_first_move(name: str) -> None:
    watch = made(name, 10_000)
    assert not rung(watch, [5.0] * 400 + [5.1])
    assert rung(watch, [5.1] * 30)


def test_vectors_that_stay_what_they_are_seldom_ring() -> None:
    rng = np.random.default_rng(5)
    mixed: npt.NDArray[np.float64] = rng.normal(size=(24, 24))
    assert len(rung(made(EMBEDDINGS, 10_000), list((rng.normal(size=(4000, 24)) @ mixed).astype(np.float32)))) <= 2


def test_a_window_of_all_that_is_kept_is_tested_too() -> None:
    watch = EmbeddingShift(0.0)
    rung(watch, values(EMBEDDINGS, 700))


def test_vectors_are_made_uncorrelated() -> None:
    rng = np.random.default_rng(3)
    rows = rng.normal(size=(4000, 5)) @ (np.eye(5) + np.tri(5))
    rows -= rows.mean(0)
    np.testing.assert_allclose(np.cov((rows @ whitening(rows).T).T), np.eye(5), atol=0.2)


def test_budgets_are_told_apart() -> None:
    for name in BUDGETED:
        family = OF_VECTORS if name == EMBEDDINGS else FAMILIES[name]
        rarer, more = parameter(name, 1000), parameter(name, 300)
        assert (rarer > more) == (family.seldom > family.often), name
