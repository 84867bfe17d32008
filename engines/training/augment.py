"""More texts of the same meaning: words replaced by synonyms, and texts translated there and back.

Every copy is of one text, whose label and part it shares (`engines.training.tasks.texts`).
"""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.progress import Progress
from transformers import MarianMTModel, MarianTokenizer

#: What may stand in place of a word, ours. No word here says that something is good or bad, goes up or down, is bought
#: or sold, or how much of it there is; each substitute takes the same article and the same number. Words that are
#: something else in a market too are no keys: a currency firms, a share is not always stock.
SYNONYMS: Mapping[str, Sequence[str]] = {
    "company": ("firm", "corporation", "business"),
    "companies": ("firms", "corporations", "businesses"),
    "corporation": ("company",),
    "shareholder": ("stockholder",),
    "shareholders": ("stockholders",),
    "stockholders": ("shareholders",),
    "customer": ("client",),
    "customers": ("clients",),
    "clients": ("customers",),
    "employees": ("workers", "staff members"),
    "personnel": ("staff",),
    "executives": ("managers",),
    "chief executive officer": ("chief executive", "CEO"),
    "chief financial officer": ("finance chief", "CFO"),
    "board of directors": ("board",),
    "manufacturer": ("maker", "producer"),
    "manufacturers": ("makers", "producers"),
    "automakers": ("carmakers",),
    "airlines": ("carriers",),
    "regulators": ("authorities", "supervisors"),
    "lender": ("bank",),
    "lenders": ("banks",),
    "stock exchange": ("bourse",),
    "stock market": ("share market",),
    "factory": ("plant",),
    "factories": ("plants",),
    "contracts": ("agreements",),
    "agreements": ("contracts",),
    "transaction": ("deal",),
    "transactions": ("deals",),
    "collaboration": ("cooperation",),
    "cooperation": ("collaboration",),
    "subsidiary": ("unit",),
    "subsidiaries": ("units",),
    "headquartered": ("based",),
    "situated": ("located",),
    "located": ("situated",),
    "announced": ("disclosed",),
    "announces": ("discloses",),
    "stated": ("said",),
    "said": ("stated",),
    "approximately": ("roughly", "about"),
    "roughly": ("approximately", "about"),
    "currently": ("at present", "presently"),
    "presently": ("currently",),
    "regarding": ("concerning",),
    "concerning": ("regarding",),
    "prior to": ("before",),
    "in order to": ("to",),
    "federal reserve": ("Fed",),
    "policymakers": ("policy makers", "officials"),
    "labor": ("labour",),
    "labour": ("labor",),
    "year-on-year": ("year-over-year",),
    "year-over-year": ("year-on-year",),
}
#: Of the words that could be replaced, the share that is.
SHARE = 0.5
#: Nothing is replaced inside a tag, a handle, a link or a word with a hyphen.
_KNOWN = re.compile(
    r"(?<![\w$#@/.\-])(?:" + "|".join(sorted(map(re.escape, SYNONYMS), key=len, reverse=True)) + r")(?![\w/\-])",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"\d+")

#: Of a Marian checkpoint, as Hugging Face lays it out.
FILES = ("config.json", "source.spm", "target.spm", "vocab.json")
TOKENS = 128
BATCH = 16


class AugmentError(ValueError):
    """Texts cannot be translated; the message says what was expected."""


@dataclass(frozen=True, slots=True)
class Augmentation:
    """Which copies of texts are learnt from beside them; ``translators`` are checkpoints there and back."""

    synonyms: bool = False
    translators: tuple[Path, Path] | None = None

    def copies(self, texts: Sequence[str], seed: int, progress: Progress) -> list[tuple[int, str]]:
        """Return copies that differ from their texts, each with its text's place.

        Raises
        ------
        AugmentError
            A folder holds no Marian checkpoint.
        """
        made: list[list[str]] = []
        if self.synonyms:
            made.append(swap(texts, np.random.default_rng(seed)))
        if self.translators:
            made.append(there_and_back(texts, *self.translators, progress))
        return [(i, copy) for copies in made for i, copy in enumerate(copies) if copy != texts[i]]


def swap(texts: Sequence[str], rng: np.random.Generator) -> list[str]:
    """Return the texts with a `SHARE` of the words in `SYNONYMS` replaced, capitals kept.

    Example
    -------
    >>> swap(["The Company said that customers in 12 plants lost $5m."], np.random.default_rng(3))
    ['The Firm said that customers in 12 plants lost $5m.']
    """

    def other(found: re.Match[str]) -> str:
        word = found.group()
        if rng.random() >= SHARE:
            return word
        choice = str(rng.choice(SYNONYMS[word.lower()]))
        if word.isupper():
            return choice.upper()
        return choice[0].upper() + choice[1:] if word[0].isupper() else choice

    return [_KNOWN.sub(other, text) for text in texts]


def there_and_back(texts: Sequence[str], there: Path, back: Path, progress: Progress) -> list[str]:
    """Return the texts after translation by the Marian checkpoint ``there`` and then ``back``.

    What comes back empty, or without the numbers that it had, stays as it was: a figure may be all that a text says.

    Raises
    ------
    AugmentError
        A folder holds no Marian checkpoint.

    Notes
    -----
    Sennrich, Haddow & Birch, *Improving neural machine translation models with monolingual data*, ACL 2016; Junczys-
    Dowmunt et al., *Marian: fast neural machine translation in C++*, ACL 2018.
    """
    for folder in (there, back):
        if missing := [name for name in FILES if not (folder / name).is_file()]:
            raise AugmentError(f"{folder} is no Marian checkpoint: expected {', '.join(FILES)}, missing {missing[0]}")
    again = list(texts)
    for folder in (there, back):
        again = _translate(again, folder, progress)
    return [
        new if new and Counter(_NUMBER.findall(new)) == Counter(_NUMBER.findall(old)) else old
        for old, new in zip(texts, again, strict=True)
    ]


def _translate(texts: Sequence[str], folder: Path, progress: Progress) -> list[str]:
    with warnings.catch_warnings():
        # It would normalise punctuation, which the tokenizer never asks for.
        warnings.filterwarnings("ignore", "Recommended: pip install sacremoses")
        tokenizer = MarianTokenizer.from_pretrained(folder, local_files_only=True)
    model = MarianMTModel.from_pretrained(folder, local_files_only=True).eval()
    bar = progress.add_task(f"translating by {folder.name}", total=len(texts))
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    told = [""] * len(texts)
    for at in range(0, len(order), BATCH):
        rows = order[at : at + BATCH]
        tokens = tokenizer(
            [texts[i] for i in rows], return_tensors="pt", padding=True, truncation=True, max_length=TOKENS
        )
        with torch.inference_mode():
            said = model.generate(**tokens, max_new_tokens=TOKENS, do_sample=False)
        for i, text in zip(rows, tokenizer.batch_decode(said, skip_special_tokens=True), strict=True):
            told[i] = text.strip()
        progress.advance(bar, len(rows))
    return told
