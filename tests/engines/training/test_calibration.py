"""What calibrates a stack is chosen by rows that it has not seen; the floor of an error by hand and by simulation."""

from __future__ import annotations

import numpy as np
import pytest

from engines.training import calibration
from engines.training.calibration import Floats, Ints, Told, log_odds
from engines.training.measures import calibration_error, calibration_floor, judge
from engines.training.stacking import later_folds, pair, stacked


def drawn(p: Floats, seed: int) -> Ints:
    return (np.random.default_rng(seed).random(len(p)) < p).astype(np.int64)


def part(count: int, seed: int, by: float = 0.0, slope: float = 1.0) -> Told:
    """A member whose log odds are off by ``by`` and ``slope``; half of the rows that it learnt are 1."""
    odds = np.random.default_rng(seed).normal(0, 1.5, count)
    return Told(odds[:, None], drawn(1 / (1 + np.exp(-(slope * odds + by))), seed + 100), 0.5)


def test_a_logistic_regression_stays_where_no_other_is_better_everywhere() -> None:
    method, calibrator = calibration.fit([part(2_000, seed, slope=0.5) for seed in range(5)], 0.5)
    assert method == "logistic"
    odds = np.linspace(-3, 3, 7)
    # It finds that the member says twice too much.
    assert log_odds(calibrator(odds[:, None])) == pytest.approx(odds / 2, abs=0.15)


def test_a_calm_time_is_moved_to_the_base_rate_where_that_came_true_before() -> None:
    """The first part is calm, then it is as it was among all rows learnt from."""
    calm, usual = part(4_000, 0, by=-1.5), part(4_000, 1)
    method, calibrator = calibration.fit([calm, usual], 0.5)
    assert method == "anchored"
    share = (calm.truth.sum() + usual.truth.sum()) / 8_000
    every = np.concatenate([calm.odds, usual.odds]), np.concatenate([calm.truth, usual.truth])
    plain = calibration.logistic(*every, 0.5)
    moved = log_odds(calibrator(usual.odds)) - log_odds(plain(usual.odds))
    assert moved == pytest.approx(log_odds(np.array(0.5)) - log_odds(np.array(share)))
    # And stays where the calm has lasted.
    assert calibration.fit([calm, part(4_000, 2, by=-1.5)], 0.5)[0] != "anchored"


def test_what_is_no_line_in_log_odds_is_mended() -> None:
    """The member is right below even odds and says nothing above."""
    parts = []
    for seed in range(3):
        odds = np.random.default_rng(seed).normal(0, 2, 6_000)
        p = 1 / (1 + np.exp(-np.minimum(odds, -0.5)))
        parts.append(Told(odds[:, None], drawn(p, seed + 50), 0.5))
    method, calibrator = calibration.fit(parts[:2], 0.5)
    assert method == "beta"
    odds, truth, _ = parts[2]
    plain = calibration.logistic(parts[0].odds, parts[0].truth, 0.5)
    assert calibration_error(truth, pair(calibrator(odds))) < 0.7 * calibration_error(truth, pair(plain(odds)))


def test_nothing_is_chosen_by_a_single_part() -> None:
    assert calibration.fit([part(500, 0, by=-2)], 0.5)[0] == "logistic"


@pytest.mark.parametrize("name", calibration.METHODS)
def test_every_method_tells_probabilities(name: str) -> None:
    odds = np.array([[-50.0], [-1.0], [0.0], [1.0], [50.0]] * 20)
    told = calibration.METHODS[name](odds, np.tile([0, 0, 1, 1, 1], 20), 0.3)(np.array([[-1e3], [0.0], [1e3]]))
    assert ((told >= 0) & (told <= 1)).all()
    assert (np.diff(told) >= 0).all()


def test_a_stack_is_calibrated_by_the_rows_that_its_members_have_not_learnt() -> None:
    """The calm half of the known time is what is weighed; base rates are of all that members learn."""
    rng = np.random.default_rng(3)
    time = np.arange(8_000)
    odds = rng.normal(0, 1.5, len(time))
    p = 1 / (1 + np.exp(-(odds - 2.0 * ((time >= 3_000) & (time < 4_500)))))
    truth = drawn(p, 4)
    known, asked = time[:6_000], time[6_000:]
    members = {"one": lambda _, rows: 1 / (1 + np.exp(-odds[rows]))}
    found = stacked(members, truth, known, asked, later_folds(known, known, known, 2))
    assert found.method == {"tocsin": "anchored"}
    assert found.weighed.tolist() == list(range(3_000, 6_000))
    assert found.unseen["tocsin"].shape == (3_000, 2)
    assert found.told["tocsin"].shape == (2_000, 2)


def test_the_floor_of_true_probabilities_is_what_draws_from_them_show() -> None:
    p = np.random.default_rng(0).beta(2, 5, 600)
    simulated = [calibration_error(drawn(p, seed), pair(p)) for seed in range(300)]
    draws = [drawn(p, seed) for seed in range(20)]
    floors = [calibration_floor(truth, pair(p), np.arange(600), seed) for seed, truth in enumerate(draws)]
    assert np.mean([floor.value for floor in floors]) == pytest.approx(np.mean(simulated), rel=0.05)
    errors = [calibration_error(truth, pair(p)) for truth in draws]
    inside = [floor.low <= error <= floor.high for floor, error in zip(floors, errors, strict=True)]
    assert np.mean(inside) > 0.8


def test_a_false_probability_does_not_raise_the_floor_and_blocks_that_stray_together_do() -> None:
    p = np.full(4_000, 0.2)
    truth = drawn(p, 1)
    rows = np.arange(4_000)
    low, high = (calibration_floor(truth, pair(told), rows, 0) for told in (p, np.full(4_000, 0.5)))
    assert low.value == pytest.approx(high.value)
    # sqrt(2 / pi) of the standard deviation of a mean of 4,000 throws, sqrt(0.2 * 0.8 / 4,000).
    assert low.value == pytest.approx(0.798 * 0.00632, rel=0.1)
    weeks = rows // 100
    together = np.repeat(drawn(p[:40], 2), 100)  # all of a week alike
    assert calibration_floor(together, pair(p), weeks, 0).value == pytest.approx(0.798 * (0.16 / 40) ** 0.5, rel=0.3)


def test_an_error_is_never_told_without_its_floor() -> None:
    p = np.random.default_rng(0).dirichlet((1, 1, 1), 200)
    found = judge({"ece": calibration_error}, p.argmax(1), p, np.arange(200), 0)
    assert list(found) == ["ece", "ece_floor"]
    assert found["ece_floor"].low < found["ece_floor"].value < found["ece_floor"].high
