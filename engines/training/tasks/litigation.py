"""Probability that a litigation release of the SEC is about insider trading, by words other than those that say so.

What is to be told, ``mentions_insider_trading``, is itself a search for words. These words and their kin are cut out of
the texts, so that the model learns how such cases are written about: from single words and pairs, and from vectors of
the bundle's text encoder as it is. Predictions are ``lt_no,p_enforcement`` in the table's order. Where train and test
are one folder, releases up to 2008 predict the later ones.

A search for words proves little of texts. Releases of 2009-2013 that were read and labelled
(docs/labelling-sec-releases.md, sec_releases.csv) say how well cases are told: of insider trading, and of manipulation,
for which a second model learns from a search of its own. Beside it stand the lexicon alone (`engines.lexicon`), which
reads the whole text, and the search itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from engines import lexicon
from engines.bundle import DEFAULT, Bundle, Metric
from engines.text import TextEncoder
from engines.training import leaks
from engines.training.measures import BINARY, Judged
from engines.training.side_by_side import CORES
from engines.training.stacking import Learner, Member, grouped_folds, later_folds, pair, stacked
from engines.training.tasks import Outcome, Run
from engines.training.tasks.tables import FolderError, read_table, whole_numbers
from engines.training.text import near_copies

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

LABEL = "mentions_insider_trading"
LAST_YEAR = 2008
SEED = 0
FOLDS = 2
LEAST = 50
#: Words that the labels are searched by, and their kin: insider trading, material non-public, tipped, tippee, tips,
#: inside information; manipulation, pump and dump, wash sales, matched orders, marking the close, scalping.
CUES = re.compile(
    r"\binsiders?\b(\W{1,3}trad\w*)?|\binside\W{1,3}information|"
    r"(\bmaterial\W{1,3}(and\W{1,3})?)?\bnon\s*-?\s*public(ly)?|\btip(s|p\w*)?\b|"
    r"\b(market\W{1,3})?manipulat\w*|\bpump\w*(\W{1,3}and\W{1,3}dump\w*)?|\bdump(s|ed|ing)?\b|"
    r"\bwash\W{1,3}(sale|trad)\w*|\bmatch(ed)?\W{1,3}(order|trad)\w*|\bmark(ed|ing)?\W{1,3}the\W{1,3}close\b|\bscalp\w*",
    re.IGNORECASE,
)
#: What stands for manipulation of a market where nobody has read the release.
MANIPULATION = re.compile(
    r"pump\W{1,3}and\W{1,3}dump|wash\W{1,3}(sale|trad)|match(ed)?\W{1,3}(order|trad)|"
    r"mark(ed|ing)?\W{1,3}the\W{1,3}close|scalping|"
    r"manipulat\w*(\W+\w+){0,4}\W+(market|price|stock|share|trading|securit)|(market|price|stock|trading)\W+manipulat",
    re.IGNORECASE,
)
#: Line ends and quotes as the page was scraped: b'...\r\n', the backslashes spelt out.
SCRAPED = re.compile(r"^\s*['\"]?b(?=\s|\\)|\\[rnt]|[\s\\'\"]+|--+|<[^>]*>")
#: Releases that were read: number, the labels of reader a's two passes and what they came to, of reader b, and the one
#: that counts.
READ = Path(__file__).parent / "sec_releases.csv"
#: Characters of a passage, and how many of a release the encoder sees, from its beginning.
PASSAGE, PASSAGES = 500, 2
#: Releases whose numbers are so near are drawn together: of one case several come in a row.
NEIGHBOURS = 20


class Kind(NamedTuple):
    """What a release may be about: how readers label it, and the lexicon's sense of it."""

    label: str
    sense: str


INSIDER, MANIPULATED = "insider trading", "manipulation"
KINDS = MappingProxyType(
    {INSIDER: Kind("insider", "insider_dealing"), MANIPULATED: Kind("manipulation", "manipulation")}
)


@dataclass(frozen=True, slots=True)
class Releases:
    """Releases in the table's order: number, what is said, that without `CUES`.

    ``year`` and ``about`` (n,), the table's label, are there where there are such.
    """

    number: list[str]
    said: list[str]
    text: list[str]
    year: Ints | None
    about: Ints | None

    def take(self, rows: Ints) -> Releases:
        """Return some of the rows."""
        number, said, text = ([column[i] for i in rows] for column in (self.number, self.said, self.text))
        year, about = (None if column is None else column[rows] for column in (self.year, self.about))
        return Releases(number, said, text, year, about)

    def searched(self) -> dict[str, Ints]:
        """Return what searches for words say, 0 or 1 for each kind, (n,); of insider trading only the table does."""
        found = {} if self.about is None else {INSIDER: self.about}
        return found | {MANIPULATED: np.array([bool(MANIPULATION.search(said)) for said in self.said], np.int64)}


def run(train: Path, test: Path, out: Path, run: Run) -> Outcome:
    """Train on ``train``, write ``lt_no,p_enforcement`` for the releases of ``test`` to ``out``; see `Task`.

    Returns
    -------
    Measures of the model, of the encoder's head alone, of a plain logistic regression on TF-IDF of single words and of
    prevalence, over releases that are no near copies of what was learnt; by kind those on releases that were read,
    where there are some of both. Intervals draw `NEIGHBOURS`.

    Raises
    ------
    FolderError
        A folder has no releases, or ``train`` not enough of them with year and label.
    """
    known = read(train)
    if known.year is None or known.about is None:
        raise FolderError(f"{train}: expected yr and {LABEL} in every row, found rows without")
    same = train.resolve() == test.resolve()
    if same:
        learn, asked = np.flatnonzero(known.year <= LAST_YEAR), np.flatnonzero(known.year > LAST_YEAR)
        other, texts, year = known.take(asked), known.text, known.year
    else:
        other = read(test)
        learn, asked = np.arange(len(known.text)), len(known.text) + np.arange(len(other.text))
        texts = known.text + other.text
        year = known.year if other.year is None else np.append(known.year, other.year)
    searched = known.searched()
    if min(np.bincount(known.about[learn], minlength=2)) < LEAST or not len(asked):
        raise FolderError(
            f"{train}: expected {LEAST} releases or more of each label, and some in {test}"
            f" (later than {LAST_YEAR} where it is the same folder)"
        )
    if other.year is not None:
        leaks.check(learn, asked, leaks.of_years(year), tell=run.overlap(same))
    kinds = [kind for kind, found in searched.items() if min(np.bincount(found[learn], minlength=2)) >= LEAST]
    bar = run.progress.add_task("releases", total=len(texts) + len(kinds) * (2 * (FOLDS + 1) + 1))

    def advance() -> None:
        run.progress.advance(bar)

    vectors = encoded(texts, advance)
    told = {
        kind: predict(texts, vectors, searched[kind], learn, asked, _folds(known, searched[kind], learn), advance)
        for kind in kinds
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    pl.DataFrame({"lt_no": other.number, "p_enforcement": told[INSIDER]["tocsin"][:, 1]}).write_csv(out)
    new = np.flatnonzero(~near_copies([texts[i] for i in asked], [texts[i] for i in learn]))
    found: dict[str, Metric] = {}
    judged = None
    if other.about is not None and len(np.unique(other.about[new])) == 2:
        judged = _judged(INSIDER, other.take(new), other.about[new], {n: p[new] for n, p in told[INSIDER].items()})
        found |= judged.metrics(BINARY, SEED)
        found |= judged.gain("gain over TF-IDF", "average_precision", BINARY, "tocsin", "TF-IDF", SEED)
    for kind, p in told.items():
        found |= measured(kind, other.take(new), {name: one[new] for name, one in p.items()})
    return Outcome(found, judged)


def measured(kind: str, releases: Releases, told: Mapping[str, Floats]) -> dict[str, Metric]:
    """Return the measures on those of ``releases`` that were read, empty where they are not of both labels.

    Beside what was ``told`` (n, 2) stand the lexicon alone and the search for words that trained.
    """
    labels = dict(pl.read_csv(READ, schema_overrides={"lt_no": pl.String}).select("lt_no", "label").iter_rows())
    rows = np.array([i for i, number in enumerate(releases.number) if number in labels], np.int64)
    some = releases.take(rows)
    truth = np.array([labels[number] == KINDS[kind].label for number in some.number], np.int64)
    if len(np.unique(truth)) < 2:
        return {}
    contenders = {name: p[rows] for name, p in told.items()}
    contenders["lexicon"] = pair(said(kind, some.said))
    if (search := some.searched().get(kind)) is not None:
        contenders["search"] = pair(search.astype(np.float64))
    judged = _judged(kind, some, truth, contenders)
    measures = {name: BINARY[name] for name in ("average_precision", "auc")}
    found = judged.metrics(measures, SEED)
    for name in ("TF-IDF", "lexicon"):
        found |= judged.gain(f"gain over {name}", "average_precision", measures, "tocsin", name, SEED)
    return {f"read, {kind}: {key}": metric for key, metric in found.items()}


def said(kind: str, texts: list[str]) -> Floats:
    """Return how often the lexicon finds its sense of ``kind`` in each text, (n,): of c phrases c**2 / (1 + c**2).

    Only the order counts; phrases that are denied or void are not counted.
    """
    words = lexicon.load("enforcement_language")
    counts = [sum(hit.sense == KINDS[kind].sense and not hit.void for hit in words.read(text).hits) for text in texts]
    return np.array([lexicon.score(count, 1.0) for count in counts], np.float64)


def _judged(kind: str, releases: Releases, truth: Ints, told: Mapping[str, Floats]) -> Judged:
    numbers = np.array([int("".join(filter(str.isdigit, number)) or 0) for number in releases.number], np.int64)
    return Judged(("other", kind), truth, told, numbers // NEIGHBOURS)


def _folds(known: Releases, searched: Ints, learn: Ints) -> list[tuple[Ints, Ints]]:
    """Return years that are told by those before them, or where there are too few of both labels parts of all."""
    assert known.year is not None
    later = later_folds(learn, known.year[learn], known.year[learn] + 1, FOLDS)
    if later and all(len(np.unique(searched[rows])) == 2 for fold in later for rows in fold):
        for before, after in later:
            leaks.check(before, after, leaks.of_years(known.year))
        return later
    return grouped_folds(learn, learn, FOLDS, SEED)


def read(folder: Path) -> Releases:
    """Return the releases of a folder, by the columns ``lt_no`` and ``text``.

    Raises
    ------
    FolderError
        There is no table with them, or a year or label in it is none.
    """
    table = read_table(folder, "lt_no", "text")
    titles = table["title"] if "title" in table.columns else pl.Series([""] * len(table))
    said = [
        SCRAPED.sub(" ", f"{'' if title in (None, 'nan') else title} \n {text or ''}")
        for title, text in zip(titles, table["text"], strict=True)
    ]
    year, about = (whole_numbers(folder, table, name) for name in ("yr", LABEL))
    if about is not None and not np.isin(about, (0, 1)).all():
        raise FolderError(f"{folder}: expected {LABEL} to be 0 or 1, found {np.unique(about)[:5].tolist()}")
    return Releases(table["lt_no"].cast(pl.String).to_list(), said, [CUES.sub(" ", text) for text in said], year, about)


def masked(text: str) -> str:
    """Return a release's text without `CUES` and without what scraping has left in it."""
    return CUES.sub(" ", SCRAPED.sub(" ", text))


def encoded(texts: list[str], advance: Callable[[], None]) -> Floats:
    """Return the mean vector (n, dim) of the first passages of each text by the bundle's encoder."""
    encoder = TextEncoder(Bundle.load(DEFAULT))

    def mean(text: str) -> Floats:
        passages = [text[at : at + PASSAGE] for at in range(0, min(len(text), PASSAGE * PASSAGES), PASSAGE)] or [""]
        vector = np.mean([encoder.encode(passage).vector for passage in passages], axis=0)
        advance()
        return np.asarray(vector, np.float64)

    with ThreadPoolExecutor(CORES) as pool:
        return np.stack(list(pool.map(mean, texts)))


def predict(
    texts: list[str],
    vectors: Floats,
    about: Ints,
    learn: Ints,
    asked: Ints,
    folds: list[tuple[Ints, Ints]],
    advance: Callable[[], None],
) -> dict[str, Floats]:
    """Return probabilities (asked, 2) by the calibrated stack, the encoder's head, a plain model, and prevalence."""
    head = Learner(lambda _: make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000)))
    members = {"words and pairs": _member(texts, about, pairs=True), "encoder": head.on(vectors, about)}
    told = stacked(members, about, learn, asked, folds, advance).told
    plain = _member(texts, about, pairs=False)(learn, asked)
    advance()
    prevalence = np.full(len(asked), about[learn].mean())
    return {
        "tocsin": told["tocsin"],
        "encoder": told["encoder"],
        "TF-IDF": pair(plain),
        "prevalence": pair(prevalence),
    }


def _member(texts: list[str], about: Ints, pairs: bool) -> Member:
    def tell(learn: Ints, rows: Ints) -> Floats:
        model: Pipeline = make_pipeline(
            TfidfVectorizer(ngram_range=(1, 1 + pairs), min_df=3, max_df=0.5 if pairs else 1.0, sublinear_tf=pairs),
            LogisticRegression(C=100 if pairs else 1, max_iter=1000),
        ).fit([texts[i] for i in learn], about[learn])
        return np.asarray(model.predict_proba([texts[i] for i in rows])[:, 1], np.float64)

    return tell
