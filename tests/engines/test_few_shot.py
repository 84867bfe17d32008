"""A new label from sixteen examples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engines.bundle import DEFAULT, Bundle
from engines.conformal import BudgetError
from engines.few_shot import fit, left_out
from engines.inference import ORT_CPU
from engines.text import TextEncoder


def test_examples_ring_and_the_background_rings_as_often_as_its_budget() -> None:
    rng = np.random.default_rng(0)
    stretched = np.array([10.0, 1.0, 1.0, 1.0])  # the widest direction says nothing
    background, later = (rng.normal(size=(20_000, 4)) * stretched for _ in range(2))
    label = np.array([0.0, 0.0, 5.0, 0.0])
    head = fit(rng.normal(size=(16, 4)) * stretched + label, background)
    assert float(np.mean(head.alarms(later, 0.01))) == pytest.approx(0.01, abs=0.002)
    assert float(np.mean(head.alarms(rng.normal(size=(500, 4)) * stretched + label, 0.01))) > 0.8
    assert head.p_value(10 * label[None])[0] == pytest.approx(1 / 10_001)


def test_too_few_of_either_are_refused() -> None:
    some = np.random.default_rng(0).normal(size=(64, 3))
    with pytest.raises(ValueError, match="a label takes 8 to 32 examples, there are 7"):
        fit(some[:7], some)
    with pytest.raises(ValueError, match="at least 32 texts that are not of it, there are 9"):
        fit(some[:8], some[:9])
    with pytest.raises(BudgetError, match="takes 99 calibration scores, there are 32"):
        fit(some[:8], some).alarms(some, 0.01)


def test_an_example_left_out_rings_if_the_others_speak_of_the_same() -> None:
    rng = np.random.default_rng(0)
    background = rng.normal(size=(2_000, 4))
    like, unlike = rng.normal(size=(11, 4)) + np.eye(4)[2] * 6, np.array([[0.0, 0.0, -6.0, 0.0]])
    examples = np.concatenate([like, unlike])
    assert left_out(examples, background, 0.01).tolist() == [True] * 11 + [False]
    # Each is judged by a head of its own.
    for one, caught in enumerate(left_out(examples, background, 0.2).tolist()):
        head = fit(np.delete(examples, one, axis=0), background)
        assert bool(head.alarms(examples[one][None], 0.2)[0]) == caught
    with pytest.raises(BudgetError, match="takes 9,999 calibration scores, there are 1,000"):
        left_out(examples, background, 0.0001)


@pytest.mark.slow
def test_insider_trading_is_told_from_sixteen_releases(data_dir: Path) -> None:
    """Releases of 2003 and 2004 teach, those of 2005 are told; the label's own words are in no text."""
    pl = pytest.importorskip("polars")
    table = pl.read_parquet(data_dir / "sec_litigation" / "releases_1996_2013.parquet").filter(
        pl.col("yr").is_between(2003, 2005)
    )
    cue = r"(?i)insider|non-?public|tipp\w+"
    table = table.with_columns(pl.col("text").str.replace_all(cue, "").str.slice(400, 500)).filter(
        pl.col("text").str.len_chars() > 300
    )
    encoder = TextEncoder(Bundle.load(DEFAULT), [ORT_CPU])

    def vectors(rows: pl.DataFrame) -> np.ndarray:
        return np.array([encoder.encode(text).vector for text in rows["text"]], np.float64)

    early, late = (table.filter(pl.col("yr") < 2005), table.filter(pl.col("yr") == 2005))
    named = pl.col("mentions_insider_trading") == 1
    head = fit(vectors(early.filter(named)[:16]), vectors(early.filter(~named)[:200]))
    told = [head.statistic(vectors(late.filter(which)[:60])) for which in (named, ~named)]
    auc = float(np.mean(told[0][:, None] > told[1][None]))
    assert auc > 0.7
