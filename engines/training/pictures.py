"""Pictures of how models learn and how they do, as SVG; the same numbers are the same file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.calibration import calibration_curve
from sklearn.metrics import confusion_matrix, precision_recall_curve

from engines.training.coverage import NEAR, Coverage
from engines.training.loop import Epoch
from engines.training.measures import Judged

#: Contenders that a picture shows beside each other, at most: the task's own and the first ones after it.
SHOWN = 3


@contextmanager
def _panels(count: int, path: Path) -> Iterator[list[Axes]]:
    with matplotlib.rc_context({"svg.hashsalt": "tocsin", "font.size": 9}):
        figure = Figure(figsize=(4.2 * count, 3.4), layout="constrained")
        yield list(np.ravel(figure.subplots(1, count)))
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, metadata={"Date": None})


def learning_curve(curve: Sequence[Epoch], keep: Literal["best", "last"], score: str, path: Path) -> None:
    """Draw loss and score of each epoch to ``path``; ``score`` says what the score is, ``keep`` which epoch stays."""
    epochs = range(1, len(curve) + 1)
    with _panels(2, path) as (left, right):
        left.plot(epochs, [epoch.loss for epoch in curve], "o-")
        left.set(xlabel="epoch", ylabel="mean training loss")
        right.plot(epochs, [epoch.score for epoch in curve], "o-")
        kept = len(curve) if keep == "last" else 1 + int(np.argmax([epoch.score for epoch in curve]))
        right.axvline(kept, linestyle=":", color="grey")
        right.set(xlabel="epoch (dotted: kept)", ylabel=score)
        for panel in (left, right):
            panel.set_xticks(epochs)


def judged(what: Judged, path: Path) -> None:
    """Draw to ``path`` how often what was told came true, and precision by recall (of more classes: the confusion)."""
    shown = list(what.told.items())[:SHOWN]
    one_hot = np.eye(len(what.classes))[what.truth]  # (row, class)
    with _panels(2, path) as (left, right):
        left.plot([0, 1], [0, 1], ":", color="grey")
        for name, p in shown:
            columns = slice(1, 2) if len(what.classes) == 2 else slice(None)
            happened, said = one_hot[:, columns].ravel(), p[:, columns].ravel()
            left.plot(*calibration_curve(happened, said, n_bins=10, strategy="quantile")[::-1], "o-", ms=3, label=name)
        left.set(xlabel="probability told", ylabel="share that came true")
        left.legend(frameon=False)
        if len(what.classes) == 2:
            for name, p in shown:
                precision, recall, _ = precision_recall_curve(what.truth, p[:, 1])
                right.plot(recall, precision, label=name)
            right.axhline(float(what.truth.mean()), linestyle=":", color="grey")
            right.set(xlabel="recall", ylabel="precision", ylim=(0, 1.02))
        else:
            shares = confusion_matrix(what.truth, shown[0][1].argmax(1), normalize="true")  # (true, told)
            right.imshow(shares, cmap="Blues", vmin=0, vmax=1)
            for (row, column), share in np.ndenumerate(shares):
                colour = "white" if share > 0.5 else "black"
                right.text(column, row, f"{share:.2f}", ha="center", va="center", color=colour)
            ticks = range(len(what.classes))
            right.set(xlabel=f"told by {shown[0][0]}", ylabel="true")
            right.set_xticks(ticks, what.classes)
            right.set_yticks(ticks, what.classes)


def coverage(what: Coverage, path: Path) -> None:
    """Draw to ``path`` the share of quiet rows that each kind of p-value covered, span by span, for each budget."""
    names = [span.name for span in what.spans]
    with _panels(len(what.budgets), path) as panels:
        for at, (panel, budget) in enumerate(zip(panels, what.budgets, strict=True)):
            panel.axhspan(1 - budget - NEAR, min(1.0, 1 - budget + NEAR), color="lightgrey")
            for name in what.pooled:
                panel.plot(names, [span.covered[name][at] for span in what.spans], "o-", ms=3, label=name)
            panel.set(ylabel=f"quiet rows with p > {budget:g}")
            panel.set_xticks(range(len(names)), names, rotation=90)
        panels[0].legend(frameon=False)
