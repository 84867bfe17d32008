"""Contrastive pretraining: a factor that texts and later bars share is found without a label, and serves few labels."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch: install the extra `train`")

import torch
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression

from engines.training.models import contrastive

FEW = 40
Rows = tuple[contrastive.Singles, contrastive.Singles, contrastive.Ints]


def rows(count: int, seed: int) -> Rows:
    """Two factors move the bars; of a text's 24 numbers they are two, no louder than the noise of the others."""
    rng = np.random.default_rng(seed)
    factor = rng.normal(size=(count, 2))
    mix = np.linalg.qr(np.random.default_rng(0).normal(size=(24, 24)))[0]
    vectors = np.hstack([factor, rng.normal(size=(count, 22))]) @ mix
    bars = rng.normal(0, 0.3, (count, 6, 3))
    bars[:, 1:, :2] += factor[:, None]
    return vectors.astype(np.float32), bars.astype(np.float32), (factor[:, 0] > 0).astype(np.int64)


@pytest.fixture(scope="module")
def model() -> contrastive.Pair:
    torch.set_num_threads(1)
    vectors, bars, _ = rows(2000, 1)
    return contrastive.pretrain(vectors, bars, dim=4, epochs=40, seed=0, step=lambda: None)


def test_a_new_text_finds_its_bars(model: contrastive.Pair) -> None:
    vectors, bars, _ = rows(500, 2)
    assert contrastive.matched(model, vectors, bars).mean() > 0.85
    assert contrastive.matched(model, vectors, bars[::-1].copy()).mean() == pytest.approx(0.5, abs=0.05)


def test_few_labels_tell_more_of_what_was_learnt_than_of_as_many_principal_components(model: contrastive.Pair) -> None:
    vectors, _, label = rows(FEW + 2000, 3)
    plain = PCA(4, random_state=0).fit_transform(vectors)
    learnt = contrastive.project(model, vectors)
    right = [
        LogisticRegression().fit(x[:FEW], label[:FEW]).score(x[FEW:], label[FEW:]) for x in (plain, vectors, learnt)
    ]
    assert right[2] > max(right[:2]) + 0.1


def test_the_loss_of_what_has_learnt_nothing_is_that_of_chance() -> None:
    model = contrastive.Pair(3, 2, 4).eval()
    with torch.no_grad():
        model.text.weight.zero_()
        model.text.bias.fill_(1.0)
        assert float(model(torch.randn(8, 3), torch.zeros(8, 5, 2))) == pytest.approx(np.log(8))
