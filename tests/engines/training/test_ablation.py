"""Every kind of fusion finds what a modality tells, misses it where it is withheld, and can do without."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch: install the extra `train`")

from rich.progress import Progress
from sklearn.metrics import roc_auc_score

from engines.training.ablation import fused
from engines.training.models.fusion import KINDS, Head


def test_what_a_modality_tells_is_found_and_missed_without_it() -> None:
    rng = np.random.default_rng(3)
    n = 3_000
    signal, noise = rng.normal(size=(n, 2)), rng.normal(size=(n, 3))
    signal[rng.random(n) < 0.2] = np.nan
    large = (np.nan_to_num(signal[:, 0]) + 0.3 * rng.normal(size=n) > 0.8).astype(float)
    size = np.where(rng.random(n) < 0.5, large + 0.1 * rng.normal(size=n), np.nan)  # not always known
    heads = [Head("large", "binary"), Head("size", "regression", 0.3)]
    learnt, asked = np.arange(2_000), np.arange(2_000, n)
    with Progress(disable=True) as progress:
        told = fused(
            {"told": signal, "noise": noise},
            heads,
            np.stack([large, size], 1),
            learnt,
            asked,
            seed=0,
            progress=progress,
        )
    assert len(told) == 3 * len(KINDS)
    for kind in KINDS:
        auc = {name: roc_auc_score(large[asked], odds[:, 0]) for name, odds in told.items() if name.startswith(kind)}
        assert auc[f"{kind} fusion"] > 0.85
        assert auc[f"{kind} fusion without noise"] > 0.85
        assert auc[f"{kind} fusion without told"] < 0.6
        known = ~np.isnan(size[asked])
        assert np.corrcoef(told[f"{kind} fusion"][known, 1], size[asked][known])[0, 1] > 0.6
