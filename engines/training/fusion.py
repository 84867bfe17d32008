"""Trains the fusion model on daily bars and posts of 88 stocks, and says what each modality is worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from rich.progress import Progress
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from tokenizers import Tokenizer

from engines import features
from engines.bundle import Part
from engines.fusion import TICKS, FusionSpec, SlotSpec, age_input
from engines.large_moves import LARGE as LARGE
from engines.large_moves import TRAILING as TRAILING
from engines.large_moves import returns as log_returns
from engines.large_moves import sizes
from engines.training.coverage import Stream, coverage, within
from engines.training.encoder import Encoder
from engines.training.measures import BINARY, gain, judge
from engines.training.models.fusion import KINDS, Fusion, Head, Rows, Slot, learn, to_onnx
from engines.training.split import SHIPPED, Split
from engines.training.text import predict
from engines.windows import NOTIONAL, SQUARE, TRADES, VOLUME, BarSpec, OpenBar

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

#: What a day's open, high, low, close and volume tell; the other features need trades, sides or quotes.
FEATURES = ("move", "range", "notional", "location")
#: What is asked: whether the next day is large, and how large it is (log of one plus |return| in deviations).
HEADS = (Head("elevated_risk", "binary"), Head("size", "regression", 0.3))
MIN_AGE_NS = 60_000_000_000
MAX_AGE_NS = 10 * 86_400_000_000_000
DAYS = BarSpec(kind="time", width_ns=86_400_000_000_000, grace_ns=0, idle_grace_ns=0)


@dataclass(frozen=True, slots=True, eq=False)
class Days:
    """One row a stock and day: features (n, F), the post kept at the close, whether the next day was large.

    ``post`` (n,) numbers a row of ``posts``, -1 none; ``age_ns`` (n,); ``size`` (n,) is the next day's |return| in
    standard deviations of the days before; ``trailing`` (n, 2) are what the baseline sees; ``day`` (n,) is days since
    1970, ``part`` (n,) its part of ``split``.
    """

    bars: npt.NDArray[np.float32]
    post: Ints
    age_ns: Ints
    label: Ints
    size: Floats
    trailing: Floats
    day: Ints
    part: npt.NDArray[np.str_]
    posts: list[str]
    split: Split


def load_days(folder: Path, split: Split = SHIPPED, memory_bars: int = TRAILING) -> Days:
    """Return the rows of stocknet in ``folder``: bars go through `engines.features`, as they do in the daemon.

    Parameters
    ----------
    memory_bars
        How many days scales and rates remember.
    """
    prices = pl.read_parquet(folder / "prices_daily.parquet").sort("ticker", "date")
    tweets = pl.read_parquet(folder / "tweets.parquet").sort("ticker", "created_at")
    numbers: dict[str, int] = {}
    rows: list[tuple[list[float], int, int, float, float, float, int, str]] = []
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
        returns, size = log_returns(ohlc[:, 3]), sizes(ohlc[:, 3])
        scales = features.Scales()
        for i, date in enumerate(dates[:-1]):
            bar = _bar(date, ohlc[i], float(volume[i]))
            seen = features.of_bar(DAYS, scales, bar)
            features.learn(DAYS, scales, bar, memory_bars, memory_bars * DAYS.width_ns, 10.0)
            part = split.part(date)
            if i < TRAILING or not part or split.part(dates[i + 1]) != part:
                continue
            past = returns[i - TRAILING + 1 : i + 1]
            deviation = float(np.std(past))
            kept = int(np.searchsorted(created, bar.end, side="right")) - 1
            number, age = -1, 0
            if kept >= 0 and bar.end - created[kept] <= MAX_AGE_NS:
                number = numbers.setdefault(_plain(texts[kept]), len(numbers))
                age = int(bar.end - created[kept])
            recent = float(np.log(np.std(past[-5:]) / deviation + 1e-3))
            trailing = recent, float(np.log(deviation))
            rows.append((seen, number, age, float(size[i]), *trailing, bar.end // DAYS.width_ns, part))
    columns = list(zip(*rows, strict=True))
    return Days(
        bars=np.array(columns[0], np.float32),
        post=np.array(columns[1], np.int64),
        age_ns=np.array(columns[2], np.int64),
        label=(np.array(columns[3]) > LARGE).astype(np.int64),
        size=np.array(columns[3], np.float64),
        trailing=np.array([columns[4], columns[5]]).T,
        day=np.array(columns[6], np.int64),
        part=np.array(columns[7]),
        posts=list(numbers),
        split=split,
    )


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


@dataclass(frozen=True, slots=True, eq=False)
class Member:
    """What a modality's encoder said: ``vector`` float32 (n, dim) and ``logits`` float32 (n, k) of each row.

    ``present`` bool (n,), ``age_ns`` (n,); ``aged`` tells that its age varies in the rows, so that it can be learnt
    from.
    """

    vector: Singles
    logits: Singles
    present: npt.NDArray[np.bool_]
    age_ns: Ints
    aged: bool


def heard(days: Days, encoder: Encoder, tokenizer: Tokenizer, progress: Progress) -> Member:
    """Return what the text encoder says of the post that was kept at each row."""
    bar = progress.add_task("fusion: encoding posts", total=len(days.posts))
    vectors, logits = [], []
    for i in range(0, len(days.posts), 1024):
        found, said = predict(encoder, [e.ids for e in tokenizer.encode_batch(days.posts[i : i + 1024])])
        vectors.append(found)
        logits.append(said)
        progress.advance(bar, len(found))
    vector, logit = np.concatenate(vectors)[days.post], np.concatenate(logits)[days.post]  # (n, dim), (n, 3)
    return Member(vector, logit.astype(np.float32), days.post >= 0, days.age_ns, aged=True)


def rows_of(days: Days, members: Mapping[str, Member]) -> tuple[list[Slot], list[SlotSpec], Rows]:
    """Return the modalities, bars first, and the rows that a fusion learns from."""
    bars = days.bars[:, [features.NAMES.index(name) for name in FEATURES]]
    n = len(bars)
    slots = [Slot(TICKS, 0, len(FEATURES), aged=False)]
    columns, ages, present = [bars], [np.zeros(n)], [np.ones(n)]
    for name, member in members.items():
        slots.append(Slot(name, member.vector.shape[1], member.logits.shape[1], member.aged))
        here = member.present[:, None]
        columns += [np.where(here, member.vector, 0), np.where(here, member.logits, 0)]
        age = np.clip(member.age_ns, MIN_AGE_NS, MAX_AGE_NS)
        ages.append(np.where(member.present, age_input(age), 0.0))
        present.append(member.present.astype(np.float64))
    truth = np.stack([days.label, np.log1p(days.size)], 1)  # (n, head)
    tensors = (np.hstack(columns), np.stack(ages, 1), np.stack(present, 1), truth)
    specs = [
        SlotSpec(name=s.name, width=s.vector + s.plain, min_age_ns=MIN_AGE_NS, max_age_ns=MAX_AGE_NS) for s in slots
    ]
    return slots, specs, Rows(*(torch.tensor(x, dtype=torch.float32) for x in tensors))


def train(days: Days, members: Mapping[str, Member], seed: int, progress: Progress) -> tuple[dict[str, bytes], Part]:
    """Return the files of the fusion model, and what it and its baselines reach on the test part.

    Every kind of fusion learns, with the size of the next move as a second question and without; the one that the part
    "stop" finds least surprising serves.
    """
    slots, specs, rows = rows_of(days, members)
    fit, stop = np.flatnonzero(days.part == "train"), np.flatnonzero(days.part == "stop")
    tried: dict[str, Fusion] = {}
    losses: dict[str, float] = {}
    for kind in KINDS:
        for heads in (HEADS[:1], HEADS):
            known = Rows(rows.x, rows.age, rows.present, rows.truth[:, : len(heads)])
            model, _ = learn(kind, slots, heads, known, fit, stop, seed=seed, progress=progress)
            name = f"{kind}, {'one question' if len(heads) == 1 else 'two questions'}"
            tried[name] = model
            losses[name] = float(log_loss(days.label[stop], _sigmoid(model.told(rows)[stop, 0])))
    best = min(losses, key=losses.__getitem__)
    model = tried[best]
    slope, intercept = _platt(model.told(rows)[:, 0], days)
    spec = FusionSpec(kind=model.kind, slots=specs, features=list(FEATURES), heads=[head.name for head in model.heads])
    rest = len(model.heads) - 1
    files = {
        "fusion.json": msgspec.json.format(msgspec.json.encode(spec), indent=1),
        "fusion.onnx": to_onnx(model, [slope, *[1.0] * rest], [intercept, *[0.0] * rest]),
    }
    return files, _report(days, rows, tried, losses, best, seed)


def _platt(odds: Floats, days: Days) -> tuple[float, float]:
    """Return slope and intercept that calibrate log odds before the test part (Platt 1999).

    On all quarters before it: the share of large days runs from 4 to 10 % by quarter there, so the last one alone
    would make its own calm, or its own storm, the rule.
    """
    rows = days.part != "test"
    fitted = LogisticRegression(C=1e6).fit(odds[rows, None], days.label[rows])
    return float(fitted.coef_[0, 0]), float(fitted.intercept_[0])


def _sigmoid(odds: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-odds)), np.float64)


def _report(
    days: Days, rows: Rows, tried: Mapping[str, Fusion], losses: Mapping[str, float], best: str, seed: int
) -> Part:
    fit, test = days.part == "train", days.part == "test"
    labels, weeks = days.label[test], (days.day[test] + 3) // 7
    model = tried[best]
    names = [slot.name for slot in model.slots]

    def told(model: Fusion, withheld: Sequence[str] = ()) -> Floats:
        slope, intercept = _platt(model.told(rows)[:, 0], days)
        p = _sigmoid(slope * model.told(rows, withheld)[test, 0] + intercept)
        return np.stack([1 - p, p], 1)

    def linear(x: Floats) -> Floats:
        shown = (x - x[fit].mean(axis=0)) / x[fit].std(axis=0)
        return np.asarray(LogisticRegression().fit(shown[fit], days.label[fit]).predict_proba(shown[test]))

    prevalence = float(days.label[fit].mean())
    contenders = {"fusion": told(model)}
    contenders |= {f"fusion, {name} withheld": told(model, [name]) for name in names}
    contenders |= {f"fusion, {name} alone": told(model, [n for n in names if n != name]) for name in names}
    contenders |= {f"{name} fusion": told(other) for name, other in tried.items() if name != best}
    contenders |= {
        "bar features + logistic": linear(rows.x[:, : len(FEATURES)].double().numpy()),
        "past volatility + logistic": linear(days.trailing),
        "prevalence": np.tile([1 - prevalence, prevalence], (len(labels), 1)),
    }
    metrics = {name: judge(BINARY, labels, p, weeks, seed) for name, p in contenders.items()}
    notes = [
        f"Large days: {prevalence:.1%} of train, {float(labels.mean()):.1%} of test.",
        f"Chosen of {len(tried)}: {best}; log loss on the part stop: "
        + ", ".join(f"{name} {loss:.4f}" for name, loss in sorted(losses.items(), key=lambda item: item[1]))
        + ".",
    ]
    for name in names[1:]:
        by = gain(BINARY["auc"], labels, contenders["fusion"], contenders[f"fusion, {name} withheld"], weeks, seed)
        metrics[f"gain by {name}"] = {"auc": by}
        verdict = "adds" if by.low > 0 else "adds nothing that can be told from chance"
        notes.append(
            f"The {name} {verdict} to the rest: AUC {by.value:+.4f} [{by.low:+.4f}, {by.high:+.4f}], by paired weeks."
        )
    risk = contenders["fusion"][:, 1]
    slope, intercept = _platt(model.told(rows)[:, 0], days)
    usual = np.quantile(_sigmoid(slope * model.told(rows)[~test, 0] + intercept), (0.99, 0.999))
    tops = [(share, float(np.quantile(risk, 1 - share))) for share in (0.1, 0.01)]
    here = rows.present[test].mean(0).tolist()
    notes += [
        f"Risk before test: the top 1% from {usual[0]:.3f} up, the top 0.1% from {usual[1]:.3f} up.",
        "Risk in test: "
        + "; ".join(
            f"the top {s:.0%} from {bound:.3f} up, {labels[risk >= bound].mean():.0%} large" for s, bound in tops
        )
        + f"; the highest {risk.max():.3f}.",
        "Present on the days of test: "
        + ", ".join(f"{n} {share:.0%}" for n, share in zip(names, here, strict=True))
        + ".",
        _covered(days, model.told(rows)[:, 0], seed),
        "Trained and calibrated on daily bars. On bars of seconds its order of risk is a guess by scale-free "
        "features, and its probabilities are not calibrated.",
    ]
    return Part(
        task=f"the next day's |return| exceeds {LARGE:g} standard deviations of the {TRAILING} days before",
        split={name: int((days.part == name).sum()) for name in days.split.parts if name},
        split_rule=f"By time: {days.split.dates}; stop ends the training, train and stop calibrate. A row whose label "
        "reaches into the next part is dropped. Intervals draw whole weeks.",
        metrics=metrics,
        notes=notes,
    )


def _covered(days: Days, odds: Floats, seed: int) -> str:
    """Return how conformal p-values of log odds (n,) hold budgets in test; a day is known to be quiet a close later."""
    every = np.append(np.unique(days.day), days.day.max() + 1)
    settles = every[np.searchsorted(every, days.day) + 1]
    stream = Stream(days.day, settles, odds, days.label == 0, days.part == "test", (days.day + 3) // 7)
    found = coverage(stream, seed)
    told = "; ".join(
        f"{name}, {pooled[0].value:.1%} and {pooled[1].value:.1%}, within a point in"
        f" {within(found.spans, name, 0, noisy=False)} and {within(found.spans, name, 1, noisy=False)} of"
        f" {len(found.spans)} months"
        for name, pooled in found.pooled.items()
    )
    return f"Quiet days whose p-value is above 0.1 and above 0.01: {told}. Following looks back on {found.chosen}."
