"""Probability that a litigation release of the SEC is about insider trading, by words other than those that say so.

What is to be told, ``mentions_insider_trading``, is itself a search for words. These words and their kin are cut out of
the texts, so that the model learns how such cases are written about. Predictions are ``lt_no,p_enforcement`` in the
table's order. Where train and test are one folder, releases up to 2008 predict the later ones.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
from rich.progress import Progress
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline

from engines.training import leaks
from engines.training.measures import BINARY, Judged
from engines.training.stacking import Member, grouped_folds, later_folds, pair, stacked
from engines.training.tasks import Outcome, Run
from engines.training.tasks.tables import FolderError, read_table
from engines.training.text import near_copies

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

LABEL = "mentions_insider_trading"
LAST_YEAR = 2008
SEED = 0
FOLDS = 2
LEAST = 50
#: Words of the label and their kin: insider trading, material non-public, tipped, tippee, tips, inside information.
CUES = re.compile(
    r"\binsiders?\b(\W{1,3}trad\w*)?|\binside\W{1,3}information|"
    r"(\bmaterial\W{1,3}(and\W{1,3})?)?\bnon\s*-?\s*public(ly)?|\btip(s|p\w*)?\b",
    re.IGNORECASE,
)
#: Line ends and quotes as the page was scraped: b'...\r\n', the backslashes spelt out.
SCRAPED = re.compile(r"^\s*['\"]?b(?=\s|\\)|\\[rnt]|[\s\\'\"]+|--+|<[^>]*>")


@dataclass(frozen=True, slots=True)
class Releases:
    """Releases in the table's order: number, text without `CUES`, year (n,) and label (n,) where there are such."""

    number: list[str]
    text: list[str]
    year: Ints | None
    about: Ints | None


def run(train: Path, test: Path, out: Path, run: Run) -> Outcome:
    """Train on ``train``, write ``lt_no,p_enforcement`` for the releases of ``test`` to ``out``; see `Task`.

    Returns
    -------
    Measures of the model, of a plain logistic regression on TF-IDF of single words and of prevalence, over releases
    that are no near copies of what was learnt; intervals draw releases.

    Raises
    ------
    FolderError
        A folder has no releases, or ``train`` not enough of them with year and label.
    """
    known = read(train)
    if known.year is None or known.about is None:
        raise FolderError(f"{train}: expected yr and {LABEL} in every row, found rows without")
    rows = np.arange(len(known.text))
    same = train.resolve() == test.resolve()
    if same:
        learn, asked = np.flatnonzero(known.year <= LAST_YEAR), np.flatnonzero(known.year > LAST_YEAR)
        other = Releases([known.number[i] for i in asked], [], known.year[asked], known.about[asked])
    else:
        other = read(test)
        learn, asked = rows, len(rows) + np.arange(len(other.text))
    texts, about = known.text + other.text, other.about
    if min(np.bincount(known.about[learn], minlength=2)) < LEAST or not len(asked):
        raise FolderError(
            f"{train}: expected {LEAST} releases or more of each label, and some in {test}"
            f" (later than {LAST_YEAR} where it is the same folder)"
        )
    if other.year is not None:
        year = known.year if same else np.append(known.year, other.year)
        leaks.check(learn, asked, leaks.of_years(year), tell=run.overlap(same))
    told = predict(texts, known.about, learn, asked, _folds(known, learn), run.progress)
    out.parent.mkdir(parents=True, exist_ok=True)
    pl.DataFrame({"lt_no": other.number, "p_enforcement": told["tocsin"][:, 1]}).write_csv(out)
    if about is None:
        return Outcome({})
    new = ~near_copies([texts[i] for i in asked], [texts[i] for i in learn])
    truth = about[new]
    if len(np.unique(truth)) < 2:
        return Outcome({})
    what = Judged(("other", "insider trading"), truth, {n: p[new] for n, p in told.items()}, np.arange(len(truth)))
    return Outcome(
        what.metrics(BINARY, SEED)
        | what.gain("gain over TF-IDF", "average_precision", BINARY, "tocsin", "TF-IDF", SEED),
        what,
    )


def _folds(known: Releases, learn: Ints) -> list[tuple[Ints, Ints]]:
    """Return years that are told by those before them, or where there are too few of both labels parts of all."""
    assert known.year is not None
    assert known.about is not None
    about = known.about
    later = later_folds(learn, known.year[learn], known.year[learn] + 1, FOLDS)
    if later and all(len(np.unique(about[rows])) == 2 for fold in later for rows in fold):
        for before, after in later:
            leaks.check(before, after, leaks.of_years(known.year))
        return later
    return grouped_folds(learn, learn, FOLDS, SEED)


def read(folder: Path) -> Releases:
    """Return the releases of a folder, by the columns ``lt_no`` and ``text``.

    Raises
    ------
    FolderError
        There is no table with them.
    """
    table = read_table(folder, "lt_no", "text")
    titles = table["title"] if "title" in table.columns else pl.Series([""] * len(table))
    texts = [
        masked(f"{'' if title in (None, 'nan') else title} \n {text or ''}")
        for title, text in zip(titles, table["text"], strict=True)
    ]
    year, about = (
        None if name not in table.columns or table[name].null_count() else table[name].to_numpy().astype(np.int64)
        for name in ("yr", LABEL)
    )
    return Releases(table["lt_no"].cast(pl.String).to_list(), texts, year, about)


def masked(text: str) -> str:
    """Return a release's text without `CUES` and without what scraping has left in it."""
    return CUES.sub(" ", SCRAPED.sub(" ", text))


def predict(
    texts: list[str], about: Ints, learn: Ints, asked: Ints, folds: list[tuple[Ints, Ints]], progress: Progress
) -> dict[str, Floats]:
    """Return probabilities (asked, 2) by the calibrated model, by a plain one, and by prevalence."""
    bar = progress.add_task("releases", total=FOLDS + 2)
    members = {"words and pairs": _member(texts, about, pairs=True)}
    told = stacked(members, about, learn, asked, folds, lambda: progress.advance(bar))
    plain = _member(texts, about, pairs=False)(learn, asked)
    progress.advance(bar)
    prevalence = np.full(len(asked), about[learn].mean())
    return {"tocsin": told.told["tocsin"], "TF-IDF": pair(plain), "prevalence": pair(prevalence)}


def _member(texts: list[str], about: Ints, pairs: bool) -> Member:
    def tell(learn: Ints, rows: Ints) -> Floats:
        model: Pipeline = make_pipeline(
            TfidfVectorizer(ngram_range=(1, 1 + pairs), min_df=3, max_df=0.5 if pairs else 1.0, sublinear_tf=pairs),
            LogisticRegression(C=100 if pairs else 1, max_iter=1000),
        ).fit([texts[i] for i in learn], about[learn])
        return np.asarray(model.predict_proba([texts[i] for i in rows])[:, 1], np.float64)

    return tell
