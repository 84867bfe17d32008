"""The ticks' encoders: what they take, that they learn what a row of bars tells, and what they restore."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch: install the extra `train`")

import torch

from engines.training.models import ticks

KINDS = ("tcn", "lstm")


def rows(count: int, seed: int) -> tuple[ticks.Singles, ticks.Singles, ticks.Ints]:
    """Noise of 30 bars, a few of which are all up or all down, and a logit that is known: both decide."""
    rng = np.random.default_rng(seed)
    bars = rng.normal(0, 1, (count, 30, 3)).astype(np.float32)
    known = rng.choice([-4.0, 4.0], count).astype(np.float32)
    bars[:, 18:24, 1] += rng.choice([-2.0, 2.0], (count, 1)).astype(np.float32)
    return bars, known, (3 * bars[:, 18:24, 1].mean(1) + known > 0).astype(np.int64)


@pytest.mark.parametrize("kind", KINDS)
def test_an_encoder_begins_with_what_is_known(kind: str) -> None:
    bars, known, _ = rows(5, 0)
    model = ticks.Encoder(kind, 3)  # type: ignore[arg-type]
    assert ticks.logits(model.eval(), bars, known).tolist() == known.tolist()
    assert model.embed(torch.from_numpy(bars)).shape == (5, 2 * ticks.WIDTH)


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_what_bars_and_what_is_known_tell_together_is_learnt(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ticks, "EPOCHS", 30)
    torch.set_num_threads(1)
    model = ticks.fit(kind, *rows(1500, 0), 0, 1, lambda: None)  # type: ignore[arg-type]
    bars, known, label = rows(400, 1)
    assert np.mean((known > 0) == label) < 0.8
    assert np.mean((ticks.logits(model, bars, known) > 0) == label) > 0.85


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_hidden_bars_are_restored_from_those_around_them(kind: str) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    level = np.random.default_rng(0).normal(0, 1, (1500, 1, 2)).astype(np.float32)
    bars = np.repeat(level, 30, 1)  # each bar is like those before: what is hidden can be known
    model = ticks.Encoder(kind, 2)  # type: ignore[arg-type]
    ticks.pretrain(model, bars, seed=0, epochs=8, every=1)
    x = torch.from_numpy(bars[:200])
    seen = x.clone()
    seen[:, 20] = 0.0
    with torch.no_grad():
        told = model.eval().restore(model.body(seen))[:, 20]
    assert float((told - x[:, 20]).square().mean() / x[:, 20].var()) < 0.2


def levels(count: int, seed: int) -> tuple[ticks.Singles, ticks.Singles, ticks.Ints]:
    """Noise of 30 bars about a level of their own: the label says whether it is above 0."""
    rng = np.random.default_rng(seed)
    level = rng.normal(0, 0.6, (count, 1, 1))
    bars = rng.normal(0, 1, (count, 30, 4))
    bars[:, :, :2] += level
    return bars.astype(np.float32), np.zeros(count, np.float32), (level[:, 0, 0] > 0).astype(np.int64)


def test_what_was_learnt_from_other_bars_helps_where_labels_are_few() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)  # an encoder that begins well learns from 24 labels alone
    source = ticks.Encoder("tcn", 4)
    ticks.pretrain(source, levels(2000, 1)[0], seed=0, epochs=8, every=1)
    before = {name: tensor.clone() for name, tensor in source.state_dict().items()}
    bars, known, label = levels(1000, 2)
    right = []
    for begin in (ticks.Encoder("tcn", 4), source):
        models = [
            ticks.transfer(begin, *levels(24, seed), seed=seed, epochs=10, every=1, step=lambda: None)
            for seed in range(3, 8)
        ]
        right.append(np.mean([(ticks.logits(model, bars, known) > 0) == label for model in models]))
    assert right[1] > right[0] + 0.03
    assert all((before[name] == tensor).all() for name, tensor in source.state_dict().items())
