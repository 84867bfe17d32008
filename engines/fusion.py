"""Fusion of what is kept of each modality into one risk score, missing and stale modalities being part of the input.

A gated attention over modalities with an empty slot. Modality m that is present gives a weight s and a value y, both
from one hidden layer; one that is missing gives a constant e:

    log odds = b + Σ_present exp(s) y / (1 + Σ_present exp(s)) + Σ_missing e

so that a row's share of each modality is the log odds with it less the log odds without it, exactly. Ilse et al. 2018
(attention over a bag), with the gate's zero as in "attention is off by one".
"""

from __future__ import annotations

import math
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from engines import features
from engines.bundle import Bundle, BundleError

Floats = npt.NDArray[np.float64]

MODALITIES = ("ticks", "text")
_HOUR_NS = 3_600_000_000_000
_AGE = math.log(240.0)


class FusionSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What fusion.json holds; H is the width of a modality's hidden layer, P that of the projected text.

    ``features`` (F names out of `engines.features.NAMES`) are clipped to ``low``..``high`` and standardised by
    ``mean``, ``scale``. ``projection`` (dim, P) is what of the text's vector is used; beside it stand its three logits.
    Ages are clipped to ``min_age_ns``..``max_age_ns``; beyond, the text is missing. ``hidden_*`` (inputs, H) and
    ``bias_*`` (H) make the hidden layers, ``gate_*`` and ``value_*`` (H) with their constants the weights and values.
    ``slope`` and ``intercept`` calibrate the log odds.
    """

    features: list[str]
    low: list[float]
    high: list[float]
    mean: list[float]
    scale: list[float]
    projection: list[list[float]]
    min_age_ns: int
    max_age_ns: int
    hidden_ticks: list[list[float]]
    bias_ticks: list[float]
    hidden_text: list[list[float]]
    bias_text: list[float]
    hidden_age: list[float]
    gate: list[list[float]]
    gate_bias: list[float]
    value: list[list[float]]
    value_bias: list[float]
    missing: list[float]
    bias: float
    slope: float
    intercept: float


class Fused(NamedTuple):
    """``risk`` float64 (n,), calibrated; ``contribution`` float64 (n, 2) and ``present`` bool (n, 2) as `MODALITIES`.

    A contribution is in log odds: with the modality less without it, 0 where it is missing.
    """

    risk: Floats
    contribution: Floats
    present: npt.NDArray[np.bool_]


class FusionModel:
    """The bundle's fusion model: probability that the next bar moves by more than two trailing standard deviations.

    Raises
    ------
    BundleError
        fusion.json is malformed or was trained on features that this version does not compute.

    Example
    -------
    >>> model = FusionModel(Bundle.load("bundles/default"))
    >>> bars = np.zeros((2, len(features.NAMES)), np.float32)
    >>> model.score(bars).contribution.shape
    (2, 2)
    """

    def __init__(self, bundle: Bundle) -> None:
        where = bundle.path / "fusion.json"
        try:
            spec = msgspec.json.decode(bundle.read("fusion.json"), type=FusionSpec)
        except msgspec.DecodeError as error:
            raise BundleError(f"{where}: {error}") from error
        if unknown := [name for name in spec.features if name not in features.NAMES]:
            raise BundleError(f"{where} wants features {unknown}, this version computes {list(features.NAMES)}")
        width = len(spec.bias_ticks)
        self._width, self._ages = width, (spec.min_age_ns, spec.max_age_ns)
        self._columns = np.array([features.NAMES.index(name) for name in spec.features])
        self._low, self._high = np.array(spec.low), np.array(spec.high)
        # Products of constants are taken once: the projection, standardising and the slope are part of the weights.
        hidden_text, projection = np.array(spec.hidden_text), np.array(spec.projection)  # (P + 3, H), (dim, P)
        self._vector = (projection @ hidden_text[: projection.shape[1]]).astype(np.float32)  # (dim, H)
        self._logits = hidden_text[projection.shape[1] :].astype(np.float32)  # (3, H)
        self._bias_text = np.array(spec.bias_text) - np.array(spec.hidden_age) * (math.log(_HOUR_NS) / _AGE)
        # Both hidden layers at once: (F + 1, 2 H), features to the left half, the text's age to the right half.
        ticks = np.array(spec.hidden_ticks) / np.array(spec.scale)[:, None]  # (F, H)
        self._hidden = np.zeros((len(spec.features) + 1, 2 * width))
        self._hidden[:-1, :width] = ticks
        self._hidden[-1, width:] = np.array(spec.hidden_age) / _AGE
        self._constant = np.zeros(2 * width)
        self._constant[:width] = np.array(spec.bias_ticks) - np.array(spec.mean) @ ticks
        # Gates and values of both: (2 H, 4), columns gate of ticks, gate of text, value of ticks, value of text.
        self._heads = np.zeros((2 * width, 4))
        for m in range(2):
            half = slice(m * width, (m + 1) * width)
            self._heads[half, m], self._heads[half, 2 + m] = spec.gate[m], spec.slope * np.array(spec.value[m])
        self._heads_bias = np.array([*spec.gate_bias, *(spec.slope * value for value in spec.value_bias)])
        self._missing = spec.slope * np.array(spec.missing)
        self._intercept = spec.slope * (spec.bias + sum(spec.missing)) + spec.intercept

    def score(
        self,
        bars: npt.NDArray[np.float32] | None,
        vector: npt.NDArray[np.float32] | None = None,
        logits: npt.NDArray[np.float32] | None = None,
        age_ns: npt.NDArray[np.int64] | None = None,
    ) -> Fused:
        """Return the risk of each row; a row's bits depend on nothing but the row and the text.

        Parameters
        ----------
        bars
            Features (n, F) as `engines.features.NAMES` lists them, or None where no bar has closed.
        vector, logits
            The kept embedding of the newest text, (dim,) and (3,), or None where there is none.
        age_ns
            How old that text was at each row, (n,); with a text and no bars it says how many rows there are.

        Raises
        ------
        ValueError
            Neither bars nor a text were given.
        """
        if bars is None and age_ns is None:
            raise ValueError("nothing to fuse: expected bars, or a text with its age")
        n = len(bars) if bars is not None else len(age_ns)  # type: ignore[arg-type]
        inputs = np.zeros((n, len(self._columns) + 1))
        constant = self._constant
        present = np.zeros((n, 2), np.bool_)
        if bars is not None:
            inputs[:, :-1] = np.minimum(np.maximum(bars.take(self._columns, axis=1), self._low), self._high)
            present[:, 0] = True
        if vector is not None and logits is not None and age_ns is not None:
            low, high = self._ages
            inputs[:, -1] = np.log(np.maximum(age_ns, low))
            constant = constant.copy()
            constant[self._width :] = vector @ self._vector + logits @ self._logits + self._bias_text
            present[:, 1] = age_ns <= high
        # Each row is a product of its own: the bits of one product of all rows would depend on n.
        hidden = np.maximum((inputs[:, None, :] @ self._hidden)[:, 0] + constant, 0.0)  # (n, 2 H)
        heads = (hidden[:, None, :] @ self._heads)[:, 0] + self._heads_bias  # (n, 4)
        raw = np.exp(heads[:, :2])  # (n, 2)
        if age_ns is None:  # ticks alone share with nothing: the same bits in half the steps
            contribution = np.zeros((n, 2))
            contribution[:, 0] = raw[:, 0] * heads[:, 2] / (1.0 + raw[:, 0]) - self._missing[0]
            return Fused(1.0 / (1.0 + np.exp(-(contribution[:, 0] + self._intercept))), contribution, present)
        weight = raw * present  # (n, 2)
        pull = weight * heads[:, 2:]  # (n, 2)
        joint = (pull[:, :1] + pull[:, 1:]) / (1.0 + weight[:, :1] + weight[:, 1:])  # (n, 1)
        alone = pull / (1.0 + weight)  # (n, 2)
        spared = self._missing * present  # (n, 2)
        contribution = joint - alone[:, ::-1] - spared
        odds = joint[:, 0] - spared[:, 0] - spared[:, 1] + self._intercept
        return Fused(1.0 / (1.0 + np.exp(-odds)), contribution, present)


def age_input(age_ns: npt.NDArray[np.int64]) -> Floats:
    """Return what the model sees of ages: the logarithm of hours, in units of ten days' (float64, same shape)."""
    return np.asarray(np.log(age_ns / _HOUR_NS) / _AGE, np.float64)
