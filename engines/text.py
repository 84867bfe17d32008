"""The text encoder: one text in, a vector to keep, logits and a calibrated score out.

A text runs with no other, padded to a length that its own tokens choose, on one thread: the same text gives the same
bits whenever, beside whatever and from whichever thread it is asked.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
from tokenizers import Encoding, Tokenizer

from engines.bundle import Bundle, BundleError
from engines.inference import ORDER, Array, Fallback, Inputs, Precision, Session, open_session

LABELS = ("bearish", "bullish", "neutral")

#: Variants of a text that run together when it is explained. Always as many, filled up where there are fewer: how many
#: there are may change a sum's bits, and each shape is one that back ends prepare for and the parity gate looks at.
TOGETHER = 6
#: The encoder's file for precision "int8", where a bundle has one.
INT8 = "encoder.int8.onnx"
#: Variants that one explanation may cost.
MAX_VARIANTS = 2 * TOGETHER


class TextSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What text.json holds.

    ``lengths`` are the padded lengths in tokens, ascending; ``max_chars`` bounds what the tokenizer sees; ``probes``
    are sentences for the parity gate, at least one a length.
    """

    labels: list[str]
    temperature: float
    dim: int
    lengths: list[int]
    max_chars: int
    probes: list[str]


def spec_of(bundle: Bundle) -> TextSpec:
    """Return what text.json holds; raise `BundleError` where it is malformed."""
    return bundle.decode("text.json", TextSpec)


class Encoded(NamedTuple):
    """What a text says: ``vector`` float32 (dim,), of length 1; ``logits`` float32 (3,) as `LABELS`.

    ``score`` is calibrated P(bearish), ``tone`` P(bullish) - P(bearish).
    """

    vector: npt.NDArray[np.float32]
    logits: npt.NDArray[np.float32]
    score: float
    tone: float


class Attribution(NamedTuple):
    """Characters ``[start, end)`` of the text and what they add to the log odds of bearish (negative: take away)."""

    start: int
    end: int
    weight: float


class TextEncoder:
    """Encodes texts with the bundle's encoder; threads may share one.

    Parameters
    ----------
    bundle
        A checked bundle.
    prefer
        Back ends, best first (see `engines.inference`).
    plans
        The folder that keeps compiled plans; None compiles without keeping.
    fell
        Is told of a back end that failed in service.
    precision
        What back ends compute in; "int8" wants a file encoder.int8.onnx in the bundle.

    Raises
    ------
    BundleError
        text.json or tokenizer.json does not hold what this version expects, or there is no INT8 file where one is asked
        for.

    Example
    -------
    >>> encoder = TextEncoder(Bundle.load("bundles/default"))
    >>> encoder.encode("Shares plunge after the auditor resigns").vector.shape
    (384,)
    """

    session: Session

    def __init__(
        self,
        bundle: Bundle,
        prefer: Sequence[str] = ORDER,
        *,
        plans: Path | None = None,
        fell: Callable[[Fallback], None] = lambda _: None,
        precision: Precision = "fp32",
    ) -> None:
        where = bundle.path / "text.json"
        self._spec = spec_of(bundle)
        if tuple(self._spec.labels) != LABELS:
            raise BundleError(f"{where} has labels {self._spec.labels}, expected {list(LABELS)}")
        vocabulary = bundle.read("tokenizer.json")
        try:
            self._tokenizer = Tokenizer.from_str(vocabulary.decode())
        except Exception as error:  # tokenizers raises no more special one
            raise BundleError(f"{bundle.path / 'tokenizer.json'} is no tokenizer: {error}") from error
        mask_id = self._tokenizer.token_to_id("[MASK]")
        if mask_id is None:
            raise BundleError(f"{bundle.path / 'tokenizer.json'} has no token [MASK]")
        self._mask_id = mask_id
        self._tokenizer.encode_special_tokens = True  # "[SEP]" in a text is text
        probes = [self.inputs(text) for text in self._spec.probes]
        if lengths := sorted(set(self._spec.lengths) - {probe["ids"].shape[1] for probe in probes}):
            raise BundleError(f"{where} has no probe of length {lengths}: the parity gate would not see it")
        # A table that ends before the tokenizer does would be read beyond its end, by back ends that do not look.
        last = {"ids": np.full((1, self._spec.lengths[0]), max(self._tokenizer.get_vocab().values()), np.int64)}
        last["mask"] = np.ones_like(last["ids"])
        together = [self._variants(probe, [[i % probe["ids"].size] for i in range(TOGETHER)]) for probe in probes]
        if precision == "int8" and INT8 not in bundle.manifest.files:
            raise BundleError(f"{bundle.path} has no {INT8}: build one with it, or ask for another precision")
        self.session = open_session(
            bundle.read("encoder.onnx"),
            [*probes, last, *together],
            prefer,
            plans=plans,
            fell=fell,
            precision=precision,
            int8=bundle.read(INT8) if precision == "int8" else None,
            score=partial(_scores, self._spec.temperature),  # not bound to what holds the session
            batched=True,
        )
        try:
            shapes = [out.shape for out in self.session.run(last)]
        except Exception as error:  # ONNX Runtime's own have no other base
            found = int(last["ids"][0, 0])
            raise BundleError(
                f"{bundle.path / 'encoder.onnx'} does not take token id {found}, which tokenizer.json has: {error}"
            ) from error
        if shapes != (expected := [(1, self._spec.dim), (1, len(LABELS))]):
            raise BundleError(f"{bundle.path / 'encoder.onnx'} gives outputs of shapes {shapes}, expected {expected}")

    def encode(self, text: str) -> Encoded:
        """Return what the encoder says of ``text``; any string will do, also an empty one."""
        (encoded,) = self.encode_all([self.inputs(text)])
        return encoded

    def inputs(self, text: str) -> dict[str, Array]:
        """Return what the encoder sees of ``text``: ids and mask, int64 (1, length), padded by the text alone."""
        return self._inputs(self._tokens(text).ids)

    def most(self) -> int:
        """Return how many texts the back end that serves may run together."""
        return max(self.session.serving.batches, default=1)

    def encode_all(self, rows: Sequence[Inputs]) -> list[Encoded]:
        """Return what the encoder says of texts of one length, given their `inputs`; each has the bits it has alone."""
        return [self._encoded(outputs) for outputs in self.session.run_rows(rows)]

    def explain(self, text: str, encoded: Encoded) -> list[Attribution]:
        """Return which characters of ``text`` its score rests on, in the text's order, by masking words.

        ``encoded`` is what `encode` said of it. Up to `MAX_VARIANTS` words are masked one by one; a longer text in six
        stretches, the heaviest of which is then taken apart.
        """
        tokens = self._tokens(text)
        words = _words(tokens)
        full = self._log_odds(encoded.logits)

        def weigh(groups: list[list[list[int]]]) -> list[Attribution]:
            at = [list(itertools.chain.from_iterable(group)) for group in groups]
            without = [
                self._log_odds(logits)
                for first in range(0, len(at), TOGETHER)
                for logits in self._masked(tokens, at[first : first + TOGETHER])
            ]
            return [
                Attribution(tokens.offsets[positions[0]][0], tokens.offsets[positions[-1]][1], full - log_odds)
                for positions, log_odds in zip(at, without, strict=True)
            ]

        if len(words) <= MAX_VARIANTS:
            return weigh([[word] for word in words])
        coarse = _stretches(words, TOGETHER)
        weights = weigh(coarse)
        heaviest = max(range(TOGETHER), key=lambda i: abs(weights[i].weight))
        fine = weigh(_stretches(coarse[heaviest], TOGETHER))
        return weights[:heaviest] + fine + weights[heaviest + 1 :]

    def _masked(self, tokens: Encoding, at: list[list[int]]) -> npt.NDArray[np.float32]:
        """Return logits (n, 3) of the text with the tokens at each of n positions masked; n up to `TOGETHER`."""
        _, logits = self.session.run(self._variants(self._inputs(tokens.ids), at))
        return np.asarray(logits[: len(at)], np.float32)

    def _variants(self, inputs: Mapping[str, Array], at: list[list[int]]) -> dict[str, Array]:
        variants = {name: np.repeat(value, TOGETHER, axis=0) for name, value in inputs.items()}  # (TOGETHER, time)
        for row, positions in enumerate(at):
            variants["ids"][row, positions] = self._mask_id
        return variants

    def _tokens(self, text: str) -> Encoding:
        # A lone surrogate is a str but not UTF-8: it becomes "?", one character as before, so that offsets hold.
        return self._tokenizer.encode(text[: self._spec.max_chars].encode("utf-8", "replace").decode())

    def _inputs(self, ids: Sequence[int]) -> dict[str, Array]:
        length = next(length for length in self._spec.lengths if length >= len(ids))
        padded = np.zeros((1, length), np.int64)  # (batch, time)
        mask = np.zeros((1, length), np.int64)  # (batch, time)
        padded[0, : len(ids)] = ids
        mask[0, : len(ids)] = 1
        return {"ids": padded, "mask": mask}

    def _encoded(self, outputs: Sequence[Array]) -> Encoded:
        vector, logits = (np.asarray(out[0], np.float32) for out in outputs)
        bearish, bullish, _ = _probabilities(self._spec.temperature, logits)
        return Encoded(vector, logits, bearish, bullish - bearish)

    def _log_odds(self, logits: npt.NDArray[np.float32]) -> float:
        bearish, *others = _probabilities(self._spec.temperature, logits)
        return math.log(max(bearish, 1e-12) / max(sum(others), 1e-12))


def _scores(temperature: float, outputs: Inputs) -> tuple[Array]:
    """Return the scores (n,) of a session's outputs."""
    logits = np.asarray(outputs["1"], np.float32)  # (n, 3)
    return (np.array([_probabilities(temperature, row)[0] for row in logits]),)


def _probabilities(temperature: float, logits: npt.NDArray[np.float32]) -> list[float]:
    scaled = [float(logit) / temperature for logit in logits]
    top = max(scaled)
    odds = [math.exp(value - top) for value in scaled]
    return [value / sum(odds) for value in odds]


def _words(tokens: Encoding) -> list[list[int]]:
    """Return the positions of the tokens of each word; special tokens belong to none."""
    words: dict[int, list[int]] = {}
    for i, word in enumerate(tokens.word_ids):
        if word is not None:
            words.setdefault(word, []).append(i)
    return list(words.values())


def _stretches(words: list[list[int]], n: int) -> list[list[list[int]]]:
    """Return the words in at most n runs of neighbours, as even as they get."""
    n = min(n, len(words))
    cuts = [len(words) * i // n for i in range(n + 1)]
    return [words[a:b] for a, b in itertools.pairwise(cuts)]
