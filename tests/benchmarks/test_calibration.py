"""Cross-fitting of the text head: each text is told by an encoder that has learnt neither it nor a near copy of it."""

from __future__ import annotations

from unittest.mock import MagicMock

import numpy as np
import numpy.typing as npt
import pytest
from rich.progress import Progress

from benchmarks import calibration
from engines.training import text
from engines.training.loop import Schedule
from engines.training.text import RUN, Posts


def test_each_run_is_told_by_an_encoder_that_has_learnt_nothing_like_it(monkeypatch: pytest.MonkeyPatch) -> None:
    letters = np.random.default_rng(0).choice(list("abcdefgh"), (5 * RUN, 40))
    texts = ["".join(row) for row in letters]
    texts[RUN : 2 * RUN] = [f"{one}!" for one in texts[4 * RUN :]]
    part = np.where(np.arange(len(texts)) < RUN, "test", "train")
    learnt: list[Posts] = []
    monkeypatch.setattr(text, "fine_tune", lambda encoder, tokenizer, posts, *rest: learnt.append(posts))

    def predict(*_: object) -> tuple[None, npt.NDArray[np.float64]]:
        return None, np.full((len(learnt[-1].of("stop")[0]), 3), float(len(learnt)))

    monkeypatch.setattr(text, "predict", predict)
    monkeypatch.setattr(calibration, "minilm", MagicMock())
    monkeypatch.setattr(calibration, "side_by_side", lambda jobs, progress: [job(progress) for job in jobs])
    labels = np.arange(len(texts)) % 3
    with Progress(disable=True) as progress:
        logits, truth = calibration.crossed(Posts(texts, labels, part), 2, Schedule(), progress)
    assert truth.tolist() == labels[part == "train"].tolist()
    told_by = logits[:, 0]  # (200,): the number of the encoder
    assert all(len(set(run)) == 1 for run in told_by.reshape(4, RUN))
    for number, posts in enumerate(learnt, start=1):
        own, others = posts.of("stop")[0], posts.of("train")[0]
        assert own == [posts.texts[i] for i in np.flatnonzero(told_by == number)]
        assert not text.near_copies(others, own).any()
        assert not set(posts.texts) & set(texts[:RUN])
    assert sum(len(posts.of("stop")[0]) for posts in learnt) == 4 * RUN
    assert [len(posts.of("none")[0]) for posts in learnt] == [RUN, RUN]
