"""Words of misconduct with their context: what a text says, and whether it denies, quotes or warns of it.

A **sense** is what a phrase means ("guarantee"), and has a weight; phrases are found in English and Chinese. A hit is
**void** where its clause denies it ("returns are *not* guaranteed", 不保证收益) or its sentence, or text, is a
context in which the typology does not count it (a regulator's warning, a client's question). Negation goes by NegEx:
Chapman, Bridewell, Hanbury, Cooper & Buchanan, *A simple algorithm for identifying negated findings and diseases in
discharge summaries*, J. Biomedical Informatics 34 (2001): a negation reaches some words ahead, or back, within its
clause, and what only looks like one ("not only") is told apart.

Void hits are kept: an explanation may show what was said and why it did not count.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import cache
from itertools import groupby, islice
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec
import yaml

from engines.redaction import excerpt
from schemas.alerts import Attribution, Explanation, RuleResult

DEFAULT = Path(__file__).parent / "data" / "lexicon.yaml"
#: Characters of a text that are read: what a document repeats beyond them adds no sense.
MAX_CHARS = 20_000
EXCERPT_CHARS = 80
NEGATED = "negation"

Language = Literal["en", "zh"]


class _Negation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    reach: int
    never: list[str]
    before: list[str]
    after: list[str]


class _Context(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    scope: Literal["sentence", "text"]
    en: list[str]
    zh: list[str]
    ends: str = ""


class _Sense(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    weight: float
    en: list[str]
    zh: list[str]


class _Typology(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    void_in: list[str]
    senses: dict[str, _Sense]


class LexiconFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What lexicon.yaml holds; its head says how phrases are written."""

    version: str
    variants: str
    negation: dict[Language, _Negation]
    contexts: dict[str, _Context]
    typologies: dict[str, _Typology]


class Hit(NamedTuple):
    """A phrase of a sense at characters ``[start, end)``; ``void`` names what it does not count for, "" if it does."""

    sense: str
    start: int
    end: int
    weight: float
    void: str = ""


class Reading(NamedTuple):
    """What a lexicon finds in a text: its hits in the text's order."""

    text: str
    hits: tuple[Hit, ...]

    def senses(self) -> dict[str, float]:
        """Return the senses that count and the weight of each; one that is said again weighs no more."""
        return {hit.sense: hit.weight for hit in self.hits if not hit.void}

    def strength(self) -> float:
        """Return the sum of the weights of the senses that count."""
        return sum(self.senses().values())


class Lexicon:
    """The phrases of one typology, ready to be found; built by `load`.

    Example
    -------
    >>> lexicon = load("mis_selling")
    >>> [(hit.sense, hit.void) for hit in lexicon.read("I guarantee you 8% a year").hits]
    [('guarantee', '')]
    >>> [(hit.sense, hit.void) for hit in lexicon.read("We can never guarantee a return").hits]
    [('guarantee', 'negation')]
    >>> lexicon.read("这款产品不保证收益").strength()
    0
    """

    def __init__(self, file: LexiconFile, typology: str) -> None:
        self.version = file.version
        found = file.typologies[typology]
        self.weights = {name: sense.weight for name, sense in found.senses.items()}
        contexts = {name: file.contexts[name] for name in found.void_in}
        self._english = _Side(file, "en", found.senses, contexts)
        self._chinese = _Side(file, "zh", found.senses, contexts)

    def read(self, text: str) -> Reading:
        """Return what the typology's phrases are found in ``text``, of which the first `MAX_CHARS` are read."""
        small = _small(text[:MAX_CHARS])
        hits = self._english.find(small, self.weights)
        if not small.isascii() and _HAN.search(small):
            hits = sorted([*hits, *self._chinese.find(small, self.weights)], key=lambda hit: hit.start)
        return Reading(text, tuple(hits))


@cache
def load(typology: str, path: Path = DEFAULT) -> Lexicon:
    """Return the lexicon of a typology.

    Raises
    ------
    ValueError
        The file is no lexicon, or has no such typology.
    """
    try:
        return Lexicon(contents(path), typology)
    except KeyError as error:
        raise ValueError(f"{path} has no {error}: expected it among its typologies, languages or contexts") from error


def contents(path: Path = DEFAULT) -> LexiconFile:
    """Return what a lexicon's file holds.

    Raises
    ------
    ValueError
        It is no lexicon.
    """
    try:
        return msgspec.convert(yaml.safe_load(path.read_text("utf-8")), LexiconFile)
    except (msgspec.ValidationError, yaml.YAMLError) as error:
        raise ValueError(f"{path} is no lexicon ({error}): its own head says what is expected") from error


def score(strength: float, threshold: float) -> float:
    """Return the score in [0, 1) of weights that add up to ``strength``: 0.5 at ``threshold``.

    Example
    -------
    >>> score(1.0, 1.0), score(2.0, 1.0), score(0.0, 1.0)
    (0.5, 0.8, 0.0)
    """
    square = (strength / threshold) ** 2
    return square / (1.0 + square)


def explain(reading: Reading, threshold: float, topic: str) -> Explanation:
    """Return the senses that count and where they stand, what was void and why, and what would clear it."""
    senses, strength = reading.senses(), reading.strength()
    void = sorted({f"{hit.sense} ({hit.void})" for hit in reading.hits if hit.void})
    binding = _fewest(senses, strength - threshold)
    return Explanation(
        rules=[
            RuleResult(name="weight of the senses", value=strength, threshold=threshold, unit="weight"),
            *(
                RuleResult(name=sense, value=weight, threshold=0.0, unit="weight", weight=weight)
                for sense, weight in senses.items()
            ),
        ],
        attributions=[
            Attribution(
                topic=topic,
                locator=f"chars {hit.start}:{hit.end}",
                weight=hit.weight,
                excerpt=excerpt(reading.text, hit.start, hit.end)[:EXCERPT_CHARS],
            )
            for hit in reading.hits
            if not hit.void
        ],
        clears=f"the same text without what it says of {' and '.join(binding)}, or its denial"
        + (f"; not counted: {', '.join(void)}" if void else ""),
    )


def _fewest(senses: Mapping[str, float], excess: float) -> list[str]:
    """Return the fewest senses without which the rest weigh less than the threshold, which ``excess`` is above."""
    removed: list[str] = []
    for sense in sorted(senses, key=lambda sense: -senses[sense]):
        if excess < 0:
            break
        removed.append(sense)
        excess -= senses[sense]
    return removed or list(senses)[:1]


# How phrases are found: one expression a language, and its contexts and negations only where it finds something.

_HAN = re.compile(r"[㐀-鿿]")
_SENTENCE = re.compile(r"[!?。！？\n]+|\.(?=\s|$)")
_CLAUSE = re.compile(
    r"[,;:!?()\n，；：。！？（）、—]|\.(?=\s|$)|--|\b(?:and|but|however|although|though|whereas|because|yet)\b"
    r"|但是|但|不过|而是|而且|并且|可是|因为"
)
_WORD = re.compile(r"[\w%$€£'’+]+")
_NUMBER = r"\+?\d+(?:[.,:]\d+)*"
_SPACE = r"[\s\-]+"
#: Up to three words, or six characters of Chinese, that end no clause.
_GAP_EN = r"(?:[ \t\"“”‘-]+[\w%$€£+.'’]*[\w%]){0,3}?[ \t\"“”‘-]+"
_GAP_ZH = r"[^，。；！？,;!?\n]{0,6}?"


class _Finder(NamedTuple):
    """Finds phrases in small letters; a match's last group tells which of ``phrases`` it is."""

    pattern: re.Pattern[str]
    phrases: list[str]

    def find(self, text: str, start: int = 0, end: int = MAX_CHARS) -> list[tuple[str, int, int]]:
        """Return each phrase that stands in ``text[start:end]``, with its place."""
        return [(self.phrases[(m.lastindex or 1) - 1], *m.span()) for m in self.pattern.finditer(text, start, end)]


class _Side:
    """The phrases, contexts and negations of one language."""

    def __init__(
        self, file: LexiconFile, language: Language, senses: Mapping[str, _Sense], contexts: Mapping[str, _Context]
    ) -> None:
        def finder(phrases: Iterable[str], first: Iterable[str] = ()) -> _Finder:
            return _finder(
                phrases, frozenset(first), _english if language == "en" else _chinese(file.variants), language
            )

        negation = file.negation[language]
        self._by_word, self._reach, self._never = language == "en", negation.reach, frozenset(negation.never)
        self._sense = {phrase: name for name, sense in senses.items() for phrase in getattr(sense, language)}
        self._phrases = finder(
            self._sense, first=[name for name in self._sense if not senses[self._sense[name]].weight]
        )
        self._before = finder([*negation.never, *negation.before])
        self._after = finder(negation.after)
        self._contexts = [(name, context, finder(getattr(context, language))) for name, context in contexts.items()]

    def find(self, text: str, weights: Mapping[str, float]) -> list[Hit]:
        """Return the hits of all phrases in ``text`` (in small letters), with what makes them void."""
        found = self._phrases.find(text)
        if not found:
            return []
        denials = [
            (first, last, self._ahead(text, last))
            for phrase, first, last in self._before.find(text)
            if phrase not in self._never
        ]
        ends = [match.end() for match in _SENTENCE.finditer(text)]
        hits = []
        for phrase, start, end in found:
            sense = self._sense[phrase]
            if not weights[sense]:
                continue
            denied = any(
                last <= start < reached or (".." in phrase and start < first and last < end)
                for first, last, reached in denials
            )
            void = NEGATED if denied or self._after.find(text, end, self._ahead(text, end)) else ""
            hits.append(Hit(sense, start, end, weights[sense], void or self._context(text, start, end, ends)))
        return hits

    def _ahead(self, text: str, start: int) -> int:
        """Return where a negation that ends, or begins, at ``start`` reaches to."""
        clause = _CLAUSE.search(text, start)
        limit = clause.start() if clause else len(text)
        if not self._by_word:
            return min(limit, start + self._reach)
        last = start
        for word in islice(_WORD.finditer(text, start, limit), self._reach):
            last = word.end()
        return last

    def _context(self, text: str, start: int, end: int, ends: Sequence[int]) -> str:
        """Return the context in which the phrase at ``[start, end)`` does not count, "" where there is none."""
        at = bisect_left(ends, end)
        low, high = (ends[at - 1] if at else 0), (ends[at] if at < len(ends) else len(text))
        sign = text[low:high].rstrip()[-1:]
        for name, context, cues in self._contexts:
            if context.ends and sign not in context.ends:
                continue
            # What a phrase itself says is no context of it.
            found = cues.find(text) if context.scope == "text" else cues.find(text, low, high)
            if any(not (start <= first and last <= end) for _, first, last in found):
                return name
        return ""


def _finder(
    phrases: Iterable[str], first: AbstractSet[str], write: Callable[[str], str], language: Language
) -> _Finder:
    """Return what finds ``phrases``: those with one first sign share a branch, so that most are passed over at once.

    Of two phrases at one place that of ``first`` is found, else the longer one, which says more.
    """
    ordered = sorted(phrases, key=lambda phrase: (phrase[0], phrase not in first, -len(phrase), phrase))
    branches = []
    for sign, of_sign in groupby(ordered, key=lambda phrase: phrase[0]):
        head = write(sign)
        rests = "|".join(f"({write(phrase).removeprefix(head)})" for phrase in of_sign)
        branches.append(f"{head}(?:{rests})")
    inner = "|".join(branches)
    bounded = rf"\b(?:{inner})(?![a-z0-9_]|-[a-z])" if language == "en" else inner
    return _Finder(re.compile(bounded, re.ASCII if language == "en" else 0), ordered)


def _english(phrase: str) -> str:
    return _GAP_EN.join(_SPACE.join(_word(word) for word in part.split()) for part in phrase.split(" .. "))


def _word(word: str) -> str:
    written = re.escape(word).replace("'", "['’]?").replace(r"\#", _NUMBER)
    return written.replace(r"\*", "[a-z]*")


def _chinese(variants: str) -> Callable[[str], str]:
    pairs = {pair[0]: f"[{pair}]" for pair in variants.split()}

    def write(phrase: str) -> str:
        return _GAP_ZH.join(
            "".join(pairs.get(sign, _NUMBER if sign == "#" else re.escape(sign)) for sign in part)
            for part in phrase.split("..")
        )

    return write


def _small(text: str) -> str:
    """Return ``text`` in small letters, as many characters as it has (one capital, İ, has two small ones)."""
    small = text.lower()
    return small if len(small) == len(text) else "".join(sign.lower()[0] for sign in text)
