"""Trains the fusion model on daily bars and posts of 88 stocks, and says what each modality is worth."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from rich.progress import Progress
from sklearn.linear_model import LogisticRegression
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional as F

from engines import features
from engines.bundle import Part
from engines.fusion import FusionSpec, age_input
from engines.training.encoder import Encoder
from engines.training.measures import BINARY, gain, judge
from engines.training.text import predict
from engines.windows import NOTIONAL, SQUARE, TRADES, VOLUME, BarSpec, OpenBar

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: What a day's open, high, low, close and volume tell; the other features need trades, sides or quotes.
FEATURES = ("move", "range", "notional", "location")
PROJECTED = 8
WIDTH = 16
MIN_AGE_NS = 60_000_000_000
MAX_AGE_NS = 10 * 86_400_000_000_000
#: A day is large when its return exceeds this many standard deviations of the days before.
LARGE = 2.0
TRAILING = 60
DAYS = BarSpec(kind="time", width_ns=86_400_000_000_000, grace_ns=0, idle_grace_ns=0)

PARTS = {"train": "2014-01-01", "stop": "2015-03-01", "test": "2015-06-01", "": "2015-10-01"}
SPLIT_RULE = (
    "By time: train to 2015-02, stop training by 2015-03 to 2015-05, calibrate on both, test from 2015-06-01, which "
    "holds the published dev part (from 2015-08-01). A row whose label reaches into the next part is dropped. "
    "Intervals draw whole weeks."
)


@dataclass(frozen=True, slots=True, eq=False)
class Days:
    """One row a stock and day: features (n, F), the post kept at the close, whether the next day was large.

    ``post`` (n,) numbers a row of ``posts``, -1 none; ``age_ns`` (n,); ``trailing`` (n, 2) are what the baseline sees;
    ``day`` (n,) is days since 1970, ``part`` (n,) the split.
    """

    bars: npt.NDArray[np.float32]
    post: Ints
    age_ns: Ints
    label: Ints
    trailing: Floats
    day: Ints
    part: npt.NDArray[np.str_]
    posts: list[str]


def load_days(folder: Path) -> Days:
    """Return the rows of stocknet in ``folder``: bars go through `engines.features`, as they do in the daemon."""
    prices = pl.read_parquet(folder / "prices_daily.parquet").sort("ticker", "date")
    tweets = pl.read_parquet(folder / "tweets.parquet").sort("ticker", "created_at")
    numbers: dict[str, int] = {}
    rows: list[tuple[list[float], int, int, bool, float, float, int, str]] = []
    by_ticker = {str(key[0]): part for key, part in tweets.group_by("ticker")}
    for key, table in prices.group_by("ticker", maintain_order=True):
        posts = by_ticker.get(str(key[0]))
        created = posts["created_at"].dt.epoch("ns").to_numpy() if posts is not None else np.zeros(0, np.int64)
        texts = posts["text"].to_list() if posts is not None else []
        # Splits would look like crashes: prices are adjusted as a whole, by the day's own factor.
        ohlc = (
            table.select("open", "high", "low", "close").to_numpy()
            * ((table["adj_close"] / table["close"]).to_numpy()[:, None])
        )
        volume = table["volume"].to_numpy()
        dates = table["date"].to_list()
        returns = np.diff(np.log(ohlc[:, 3]), prepend=np.nan)
        scales = features.Scales()
        for i, date in enumerate(dates[:-1]):
            bar = _bar(date, ohlc[i], float(volume[i]))
            seen = features.of_bar(DAYS, scales, bar)
            features.learn(DAYS, scales, bar, TRAILING, TRAILING * DAYS.width_ns, 10.0)
            part = _part(date)
            if i < TRAILING or not part or _part(dates[i + 1]) != part:
                continue
            past = returns[i - TRAILING + 1 : i + 1]
            deviation = float(np.std(past))
            kept = int(np.searchsorted(created, bar.end, side="right")) - 1
            number, age = -1, 0
            if kept >= 0 and bar.end - created[kept] <= MAX_AGE_NS:
                number = numbers.setdefault(_plain(texts[kept]), len(numbers))
                age = int(bar.end - created[kept])
            large = abs(float(returns[i + 1])) > LARGE * deviation
            recent = float(np.log(np.std(past[-5:]) / deviation + 1e-3))
            rows.append((seen, number, age, large, recent, float(np.log(deviation)), bar.end // DAYS.width_ns, part))
    columns = list(zip(*rows, strict=True))
    return Days(
        bars=np.array(columns[0], np.float32),
        post=np.array(columns[1], np.int64),
        age_ns=np.array(columns[2], np.int64),
        label=np.array(columns[3], np.int64),
        trailing=np.array([columns[4], columns[5]]).T,
        day=np.array(columns[6], np.int64),
        part=np.array(columns[7]),
        posts=list(numbers),
    )


def _part(date: str) -> str:
    return next((part for part, start in reversed(PARTS.items()) if date >= start), "")


def _plain(text: str) -> str:
    """The set's own masks for links and handles are no words of the language."""
    return text.replace("AT_USER", "").replace("URL", "")


def _bar(date: str, ohlc: Floats, volume: float) -> OpenBar:
    close = datetime.combine(datetime.fromisoformat(date), time(16), ZoneInfo("America/New_York"))
    end = int((close - datetime(1970, 1, 1, tzinfo=ZoneInfo("UTC"))) / timedelta(microseconds=1)) * 1000
    first, high, low, last = (float(price) for price in ohlc)
    bar = OpenBar(end - DAYS.width_ns, end, open=first, high=high, low=low, close=last)
    bar.sums[VOLUME], bar.sums[NOTIONAL] = volume, volume * float(np.mean(ohlc))
    bar.sums[SQUARE] = float(np.log(high / low)) ** 2
    bar.sums[TRADES] = 1.0
    return bar


class Fusion(nn.Module):
    """The model of `engines.fusion` as it learns; names are those of `FusionSpec`."""

    def __init__(self, inputs: int, dim: int) -> None:
        super().__init__()
        self.projection = nn.Linear(dim, PROJECTED, bias=False)
        self.ticks = nn.Linear(inputs, WIDTH)
        self.text = nn.Linear(PROJECTED + 3, WIDTH)
        self.age = nn.Linear(1, WIDTH, bias=False)
        self.gate = nn.ModuleList(nn.Linear(WIDTH, 1) for _ in range(2))
        self.value = nn.ModuleList(nn.Linear(WIDTH, 1) for _ in range(2))
        self.missing = nn.Parameter(torch.zeros(2))
        self.bias = nn.Parameter(torch.tensor(-2.5))

    def forward(self, bars: Tensor, vector: Tensor, logits: Tensor, age: Tensor, present: Tensor) -> Tensor:
        """Return log odds (n,) of bars (n, F), vectors (n, dim), logits (n, 3), ages (n, 1), present (n, 2)."""
        told = torch.cat([self.projection(vector), logits], 1)  # (n, P + 3)
        hidden = (torch.relu(self.ticks(bars)), torch.relu(self.text(told) + self.age(age)))  # each (n, H)
        weight = torch.cat([g(h) for g, h in zip(self.gate, hidden, strict=True)], 1).exp() * present  # (n, 2)
        value = torch.cat([v(h) for v, h in zip(self.value, hidden, strict=True)], 1)  # (n, 2)
        fused = (weight * value).sum(1) / (1 + weight.sum(1))
        return self.bias + fused + ((1 - present) * self.missing).sum(1)


@dataclass(frozen=True, slots=True)
class Schedule:
    """How the fusion model learns: each modality is dropped from a row with probability ``drop``."""

    epochs: int = 30
    patience: int = 6
    batch: int = 256
    rate: float = 2e-3
    decay: float = 0.05
    drop: float = 0.25


Inputs = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


def train(
    days: Days, encoder: Encoder, tokenizer: Tokenizer, schedule: Schedule, seed: int, progress: Progress
) -> tuple[FusionSpec, Part]:
    """Return the numbers of the fusion model and what it and its baselines reach on the test part."""
    bar = progress.add_task("fusion: encoding posts", total=len(days.posts))
    vectors, logits = [], []
    for i in range(0, len(days.posts), 1024):
        rows = [e.ids for e in tokenizer.encode_batch(days.posts[i : i + 1024])]
        found, said = predict(encoder, rows)
        vectors.append(found)
        logits.append(said)
        progress.advance(bar, len(rows))
    vector, logit = np.concatenate(vectors), np.concatenate(logits)
    columns = [features.NAMES.index(name) for name in FEATURES]
    fit = days.part == "train"
    raw = days.bars[:, columns].astype(np.float64)
    low, high = np.quantile(raw[fit], 0.002, axis=0), np.quantile(raw[fit], 0.998, axis=0)
    clipped = np.clip(raw, low, high)
    mean, scale = clipped[fit].mean(axis=0), clipped[fit].std(axis=0)
    ages = age_input(np.clip(days.age_ns, MIN_AGE_NS, MAX_AGE_NS))
    inputs: Inputs = (
        torch.tensor((clipped - mean) / scale, dtype=torch.float32),
        torch.tensor(vector[days.post]),
        torch.tensor(logit[days.post], dtype=torch.float32),
        torch.tensor(ages[:, None], dtype=torch.float32),
        torch.tensor(np.stack([np.ones(len(days.post)), days.post >= 0], 1), dtype=torch.float32),
    )
    model = _learn(days, inputs, schedule, seed, progress)
    slope, intercept = _platt(_log_odds(model, inputs, "both"), days)
    spec = _spec(model, low, high, mean, scale, slope, intercept)
    return spec, _report(days, model, inputs, slope, intercept, seed)


def _learn(days: Days, inputs: Inputs, schedule: Schedule, seed: int, progress: Progress) -> Fusion:
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model = Fusion(inputs[0].shape[1], inputs[1].shape[1])
    optimizer = torch.optim.AdamW(model.parameters(), lr=schedule.rate, weight_decay=schedule.decay)
    fit, stop = np.flatnonzero(days.part == "train"), np.flatnonzero(days.part == "stop")
    target = torch.tensor(days.label, dtype=torch.float32)
    bar = progress.add_task("fusion", total=schedule.epochs)
    best, best_loss, since = copy.deepcopy(model), np.inf, 0
    for _ in range(schedule.epochs):
        order = rng.permutation(fit)
        for i in range(0, len(order), schedule.batch):
            rows = torch.tensor(order[i : i + schedule.batch])
            keep = torch.tensor(rng.random((len(rows), 2)) >= schedule.drop, dtype=torch.float32)
            bars, vector, logits, age, present = (tensor[rows] for tensor in inputs)
            loss = F.binary_cross_entropy_with_logits(model(bars, vector, logits, age, present * keep), target[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.inference_mode():
            held = float(F.binary_cross_entropy_with_logits(model(*(t[stop] for t in inputs)), target[stop]))
        progress.advance(bar)
        if held < best_loss:
            best, best_loss, since = copy.deepcopy(model), held, 0
        else:
            since += 1
            if since > schedule.patience:
                break
    progress.update(bar, completed=schedule.epochs)
    return best


def _log_odds(model: Fusion, inputs: Inputs, modalities: str) -> Floats:
    masks = {"both": (1.0, 1.0), "ticks": (1.0, 0.0), "text": (0.0, 1.0)}
    present = inputs[4] * torch.tensor(masks[modalities])
    with torch.inference_mode():
        return np.asarray(model(*inputs[:4], present).double().numpy())


def _platt(odds: Floats, days: Days) -> tuple[float, float]:
    """Return slope and intercept that calibrate log odds before the test part (Platt 1999).

    On all quarters before it: the share of large days runs from 4 to 10 % by quarter there, so the last one alone
    would make its own calm, or its own storm, the rule.
    """
    rows = days.part != "test"
    fitted = LogisticRegression(C=1e6).fit(odds[rows, None], days.label[rows])
    return float(fitted.coef_[0, 0]), float(fitted.intercept_[0])


def _spec(
    model: Fusion, low: Floats, high: Floats, mean: Floats, scale: Floats, slope: float, intercept: float
) -> FusionSpec:
    state = {name: tensor.double().numpy() for name, tensor in model.state_dict().items()}

    def pair(name: str) -> list[list[float]]:
        return [state[f"{name}.{m}.weight"].ravel().tolist() for m in range(2)]

    def constants(name: str) -> list[float]:
        return [float(state[f"{name}.{m}.bias"][0]) for m in range(2)]

    return FusionSpec(
        features=list(FEATURES),
        low=low.tolist(),
        high=high.tolist(),
        mean=mean.tolist(),
        scale=scale.tolist(),
        projection=state["projection.weight"].T.tolist(),
        min_age_ns=MIN_AGE_NS,
        max_age_ns=MAX_AGE_NS,
        hidden_ticks=state["ticks.weight"].T.tolist(),
        bias_ticks=state["ticks.bias"].tolist(),
        hidden_text=state["text.weight"].T.tolist(),
        bias_text=state["text.bias"].tolist(),
        hidden_age=state["age.weight"].ravel().tolist(),
        gate=pair("gate"),
        gate_bias=constants("gate"),
        value=pair("value"),
        value_bias=constants("value"),
        missing=state["missing"].tolist(),
        bias=float(state["bias"]),
        slope=slope,
        intercept=intercept,
    )


def _report(days: Days, model: Fusion, inputs: Inputs, slope: float, intercept: float, seed: int) -> Part:
    fit, test = days.part == "train", days.part == "test"
    labels, weeks = days.label[test], (days.day[test] + 3) // 7

    def told(odds: Floats) -> Floats:
        p: Floats = 1 / (1 + np.exp(-(slope * odds + intercept)))
        return np.asarray(np.stack([1 - p, p], 1)[test], np.float64)

    center, spread = days.trailing[fit].mean(axis=0), days.trailing[fit].std(axis=0)
    trailing = (days.trailing - center) / spread
    past = LogisticRegression().fit(trailing[fit], days.label[fit])
    shown = inputs[0].numpy().astype(np.float64)
    linear = LogisticRegression().fit(shown[fit], days.label[fit])
    prevalence = float(days.label[fit].mean())
    contenders = {
        "fusion, ticks and text": told(_log_odds(model, inputs, "both")),
        "fusion, text withheld": told(_log_odds(model, inputs, "ticks")),
        "fusion, ticks withheld": told(_log_odds(model, inputs, "text")),
        "bar features + logistic": np.asarray(linear.predict_proba(shown[test])),
        "past volatility + logistic": np.asarray(past.predict_proba(trailing[test])),
        "prevalence": np.tile([1 - prevalence, prevalence], (len(labels), 1)),
    }
    metrics = {name: judge(BINARY, labels, p, weeks, seed) for name, p in contenders.items()}
    both, alone = contenders["fusion, ticks and text"], contenders["fusion, text withheld"]
    by_text = gain(BINARY["auc"], labels, both, alone, weeks, seed)
    metrics["gain by text"] = {"auc": by_text}
    risk = contenders["fusion, ticks and text"][:, 1]
    tops = [(share, float(np.quantile(risk, 1 - share))) for share in (0.1, 0.01)]
    verdict = "adds" if by_text.low > 0 else "adds nothing that can be told from chance"
    parts = {name: int((days.part == name).sum()) for name in PARTS if name}
    share = float((days.post[test] >= 0).mean())
    return Part(
        task=f"the next day's |return| exceeds {LARGE:g} standard deviations of the {TRAILING} days before",
        split=parts,
        split_rule=SPLIT_RULE,
        metrics=metrics,
        notes=[
            f"Large days: {prevalence:.1%} of train, {float(labels.mean()):.1%} of test.",
            f"Text {verdict} to the bars: AUC {by_text.value:+.4f} [{by_text.low:+.4f}, {by_text.high:+.4f}], "
            "by paired weeks.",
            "Risk in test: "
            + "; ".join(
                f"the top {s:.0%} from {bound:.3f} up, {labels[risk >= bound].mean():.0%} large" for s, bound in tops
            )
            + f"; the highest {risk.max():.3f}.",
            f"A post was kept (at most 10 days old) on {share:.0%} of the days of test.",
            "Trained and calibrated on daily bars. On bars of seconds its order of risk is a guess by scale-free "
            "features, and its probabilities are not calibrated.",
        ],
    )
