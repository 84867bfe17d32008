"""Trains the chart encoder that ships, on charts of daily bars of 88 stocks, and says what a chart is worth."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from rich.progress import Progress
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from engines import bars as barlib
from engines import charts
from engines.bundle import Part
from engines.chart_encoder import ChartSpec
from engines.inference import ORT_CPU, open_session
from engines.training.export import onnx_of
from engines.training.fusion import LARGE, TRAILING, Days, Member
from engines.training.measures import BINARY, gain, judge
from engines.training.models import chart

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

EPOCHS = 6
PEAK_RATE = 5e-3
#: Inverse strengths of the penalty that the baseline chooses from, by the part "stop".
PENALTIES = (0.001, 0.01, 0.1, 1.0)
TOGETHER = 256  # charts that are drawn, or looked at, at once


class Windows(NamedTuple):
    """The bars that each day's chart shows, ``bars`` (n, 20, 5), and their moving average, ``average`` (n, 20)."""

    bars: Floats
    average: Floats

    def at(self, rows: Mask) -> Windows:
        """Return some of the rows."""
        return Windows(self.bars[rows], self.average[rows])


class Trained(NamedTuple):
    """The network as it learnt and as it ships (ONNX), what chart.json holds, and what it is worth."""

    model: chart.Network
    graph: bytes
    spec: ChartSpec
    part: Part


class Served(nn.Module):
    """The part of the network that ships: charts (chart, 1, 64, 60) to vectors (chart, 32) and logits (chart, 1)."""

    def __init__(self, model: chart.Network) -> None:
        super().__init__()
        self.look, self.embed, self.head = model.look, model.embed, model.head

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Return vectors and logits."""
        vector = self.embed(self.look(pictures))  # (chart, 32)
        return vector, self.head(vector)


def windows(folder: Path, days: Days) -> Windows:
    """Return what the chart of each row of ``days`` shows, known at that day's close, adjusted as a whole.

    Raises
    ------
    ValueError
        ``days`` is not what `load_days` makes of ``folder``.
    """
    prices = pl.read_parquet(folder / "prices_daily.parquet").sort("ticker", "date")
    adjusted = pl.col("open", "high", "low", "close") * pl.col("adj_close") / pl.col("close")
    table = prices.select(adjusted, "volume").to_numpy()  # (row, 5)
    ticker, date = prices["ticker"].rle_id().to_numpy(), prices["date"].to_numpy().astype(str)  # (row,) each
    first = np.searchsorted(ticker, ticker).astype(np.int64)  # (row,)
    number = np.arange(len(ticker))  # (row,)
    firsts = [first.isoformat() for first in days.split.parts.values()]
    part = np.searchsorted(firsts, date, side="right")  # (row,): 0 before the first
    inside = (part > 0) & (part < len(firsts))  # (row,)
    followed = (ticker[:-1] == ticker[1:]) & (part[:-1] == part[1:])  # (row - 1,)
    rows = np.flatnonzero((number - first >= TRAILING) & inside & np.append(followed, False))
    if not np.array_equal(date[rows].astype("datetime64[D]").astype(np.int64), days.day):
        raise ValueError(f"expected the {len(rows)} days of {folder}, found {len(days.day)} others")
    average, _ = barlib.trailing(table[:, 3], first, charts.BARS)  # (row,)
    return Windows(barlib.windows(table, first, rows, charts.BARS), barlib.windows(average, first, rows, charts.BARS))


def drawn(shown: Windows, redrawn: np.random.Generator | None = None) -> Bytes:
    """Return charts (n, 64, 60) in our style; with ``redrawn`` as others might draw them, as `see` sees those."""
    together = chart.TOGETHER if redrawn else TOGETHER
    made = [np.zeros((0, charts.HEIGHT_PX, charts.WIDTH_PX), np.uint8)]
    for at in range(0, len(shown.bars), together):
        bars, line = shown.bars[at : at + together], shown.average[at : at + together]  # (chart, 20, 5), (chart, 20)
        made.append(chart.imitate(bars, line, redrawn) if redrawn else charts.draw(bars, charts.PLAIN, line))
    return np.concatenate(made)


@torch.inference_mode()
def embed(model: chart.Network, pictures: Bytes) -> tuple[Singles, Singles]:
    """Return vectors (n, 32) and logits (n, 1) of ``pictures`` (n, 64, 60): what `drawn` or `see` gives."""
    model.eval()
    served = Served(model)
    told = [served(chart.tensor(pictures[at : at + TOGETHER])) for at in range(0, len(pictures), TOGETHER)]
    vectors, logits = (torch.cat(parts).numpy() for parts in zip(*told, strict=True))
    return vectors, logits


def member(folder: Path, days: Days, trained: Trained, seed: int, progress: Progress) -> Member:
    """Return what charts say of each row of ``days``, for a fusion to learn from: logits alone.

    A network knows the rows that it has learnt from too well for anything to be learnt from what it says of them: of
    those, each half (by time) is told by a network of the other half. Two networks' vectors mean different things, so
    fusion has the logit only.
    """
    shown = windows(folder, days)
    logits = embed(trained.model, drawn(shown))[1]  # (n, 1)
    fit = np.flatnonzero(days.part == "train")
    later = days.day[fit] > np.median(days.day[fit])
    bar = progress.add_task("charts: halves", total=2 * EPOCHS)
    for told, learnt in ((fit[later], fit[~later]), (fit[~later], fit[later])):
        half = Windows(shown.bars[learnt], shown.average[learnt])
        model = chart.fit(
            *half, days.label[learnt], seed, lambda: progress.advance(bar), every=1, epochs=EPOCHS, peak_rate=PEAK_RATE
        )
        logits[told] = embed(model, drawn(Windows(shown.bars[told], shown.average[told])))[1]
    n = len(logits)
    return Member(np.zeros((n, 0), np.float32), logits, np.ones(n, np.bool_), np.zeros(n, np.int64), aged=False)


def onnx_bytes(model: chart.Network) -> bytes:
    """Return the ONNX of what ships: ``charts`` (batch, 1, 64, 60) to ``vector`` (batch, 32), ``logits`` (batch, 1)."""
    example = torch.zeros(2, 1, charts.HEIGHT_PX, charts.WIDTH_PX)
    return onnx_of(Served(model), {"charts": example}, ["vector", "logits"])


def train(folder: Path, days: Days, seed: int, progress: Progress) -> Trained:
    """Return a network that tells from a day's chart whether the next day is large, as stocknet in ``folder`` has it.

    ``days`` are what `load_days` makes of it: label and split are theirs. What is judged is the graph that ships.
    """
    shown = windows(folder, days)
    fit = days.part == "train"
    bar = progress.add_task("charts", total=EPOCHS)
    model = chart.fit(
        *shown.at(fit),
        days.label[fit],
        seed,
        lambda: progress.advance(bar),
        every=1,
        epochs=EPOCHS,
        peak_rate=PEAK_RATE,
    )
    graph = onnx_bytes(model)
    run = open_session(graph, [], [ORT_CPU]).run

    def tell(part: str, redrawn: np.random.Generator | None = None) -> Floats:
        pictures = drawn(shown.at(days.part == part), redrawn)[:, None].astype(np.float32) / np.float32(255)
        told = [run({"charts": pictures[at : at + TOGETHER]})[1] for at in range(0, len(pictures), TOGETHER)]
        return np.concatenate(told)[:, 0].astype(np.float64)

    slope, intercept = calibrate(tell("stop"), days)
    spec = ChartSpec(
        dim=chart.EMBEDDED, height_px=charts.HEIGHT_PX, width_px=charts.WIDTH_PX, slope=slope, intercept=intercept
    )
    ours, others = (slope * odds + intercept for odds in (tell("test"), tell("test", np.random.default_rng(seed))))
    return Trained(model, graph, spec, _report(days, ours, others, _same_numbers(days, shown), seed))


def calibrate(odds: Floats, days: Days) -> tuple[float, float]:
    """Return slope and intercept that calibrate log odds, given those of the part "stop" (n,): Platt (1999).

    They are fitted on rows that have not been learnt from, and then moved to the share of large days in all quarters
    before the test part (Elkan 2001, *The foundations of cost-sensitive learning*): by quarter it runs from 4 to 10 %,
    so that the last one alone would make its own calm, or its own storm, the rule.
    """
    labels = days.label[days.part == "stop"]
    fitted = LogisticRegression(C=1e6).fit(odds[:, None], labels)
    usual, here = (np.log(share / (1 - share)) for share in (_share(days), float(labels.mean())))
    return float(fitted.coef_[0, 0]), float(fitted.intercept_[0] + usual - here)


def _share(days: Days) -> float:
    """Return the share of large days before the test part."""
    return float(days.label[days.part != "test"].mean())


def _same_numbers(days: Days, shown: Windows) -> Floats:
    """Return calibrated log odds of the part "test" by a logistic regression on the numbers that the charts show."""
    x = charts.numbers(*shown).reshape(len(shown.bars), -1).astype(np.float64)  # (n, 120)
    fit, stop, test = (days.part == part for part in ("train", "stop", "test"))
    models = [
        make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=1000)).fit(x[fit], days.label[fit])
        for c in PENALTIES
    ]
    best = min(models, key=lambda model: float(log_loss(days.label[stop], model.predict_proba(x[stop]))))
    slope, intercept = calibrate(best.decision_function(x[stop]), days)
    return np.asarray(slope * best.decision_function(x[test]) + intercept)


def _probability(odds: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-odds)))


def _report(days: Days, ours: Floats, others: Floats, numbers: Floats, seed: int) -> Part:
    """Return what calibrated log odds of the part "test" are worth: of our charts, others', and the same numbers."""
    test = days.part == "test"
    labels, weeks = days.label[test], (days.day[test] + 3) // 7
    before = _share(days)
    told = {
        "chart": _probability(ours),
        "chart, as others draw": _probability(others),
        "the same numbers + logistic": _probability(numbers),
        "prevalence": np.full(len(labels), before),
    }
    pairs = {name: np.stack([1 - p, p], 1) for name, p in told.items()}
    metrics = {name: judge(BINARY, labels, p, weeks, seed) for name, p in pairs.items()}
    drawing = gain(BINARY["auc"], labels, pairs["chart"], pairs["the same numbers + logistic"], weeks, seed)
    metrics["gain by drawing"] = {"auc": drawing}
    auc = metrics["chart"]["auc"]
    return Part(
        task=f"from a chart of {charts.BARS} days, whether the next day's |return| exceeds {LARGE:g} standard "
        f"deviations of the {TRAILING} days before",
        split={name: int((days.part == name).sum()) for name in days.split.parts if name},
        split_rule=f"By time, as for the fusion model: {days.split.dates}. By stop the number of epochs and the "
        "baseline's penalty were chosen, and both calibrated; the level is the share of large days in train and stop. A"
        " row whose label reaches into the next part is dropped. Intervals draw whole weeks.",
        metrics=metrics,
        notes=[
            f"Large days: {before:.1%} before the test part, {float(labels.mean()):.1%} in it.",
            f"The chart alone {'tells' if auc.low > 0.5 else 'does not tell'} large days from others beyond chance: "
            f"AUC {auc.value:.3f} [{auc.low:.3f}, {auc.high:.3f}]. Against a regression on the numbers that it shows, "
            f"its AUC is {drawing.value:+.3f} [{drawing.low:+.3f}, {drawing.high:+.3f}], by paired weeks.",
            "It has learnt charts in our style and as others might draw them (colours, sizes, axes, JPEG), made of the "
            "same bars. It has seen no chart that somebody else drew, and bars of days only.",
        ],
    )
