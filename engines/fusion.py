"""Fusion of what is kept of each modality into one risk score, missing and stale modalities being part of the input.

The network is the bundle's fusion.onnx: early, mid (gated attention with an empty slot) or late, as evaluation chose
(`engines.training.models.fusion`). It says of each row what the risk is, and what each modality added to its log odds:
with the modality less without it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from engines import features
from engines.bundle import Bundle, BundleError
from engines.inference import ORT_CPU, Session, open_session

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

TICKS = "ticks"
#: Rows that run together, always as many, filled up where there are fewer: one shape, so that a row's bits are its own.
BLOCK = 8
_NEVER = np.iinfo(np.int64).max
_HOUR_NS = 3_600_000_000_000
_AGE = math.log(240.0)


class SlotSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One modality's place, of ``width`` columns.

    Its age is taken for ``min_age_ns`` at least, and beyond ``max_age_ns`` it is missing.
    """

    name: str
    width: int
    min_age_ns: int
    max_age_ns: int


class FusionSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What fusion.json holds: which modalities, in the columns' order, and which features of a bar (`features.NAMES`).

    ``heads`` name the answers, the risk first.
    """

    kind: str
    slots: list[SlotSpec]
    features: list[str]
    heads: list[str]


class Kept(NamedTuple):
    """What is kept of a modality: its columns, float32 (width,), and when it was (ns)."""

    values: Singles
    ts_event: int


class Fused(NamedTuple):
    """``risk`` float64 (n,), calibrated; ``share`` float64 (n, M) and ``present`` bool (n, M) by its modalities.

    A share is in log odds: with the modality less without it, 0 where it is missing.
    """

    risk: Floats
    share: Floats
    present: npt.NDArray[np.bool_]


class FusionModel:
    """The bundle's fusion model: probability that the next bar moves by more than two trailing standard deviations.

    It runs on the reference back end: a call costs less than the way to a device and back.

    Raises
    ------
    BundleError
        fusion.json is malformed, was trained on features that this version does not compute, or fusion.onnx is of other
        modalities than it says.

    Example
    -------
    >>> model = FusionModel(Bundle.load("bundles/default"))
    >>> bars = np.zeros((2, len(features.NAMES)), np.float32)
    >>> model.score(bars, np.zeros(2, np.int64), {}, np.zeros(2, np.int64)).risk.shape
    (2,)
    """

    session: Session
    #: Where each modality's columns lie.
    columns: dict[str, slice]

    def __init__(self, bundle: Bundle) -> None:
        where = bundle.path / "fusion.json"
        spec = bundle.decode("fusion.json", FusionSpec)
        if unknown := [name for name in spec.features if name not in features.NAMES]:
            raise BundleError(f"{where} wants features {unknown}, this version computes {list(features.NAMES)}")
        widths = {slot.name: slot.width for slot in spec.slots}
        if len(widths) != len(spec.slots) or widths.get(TICKS) != len(spec.features):
            raise BundleError(
                f"{where}: expected modalities that differ, {TICKS} with a column for each of its {len(spec.features)} "
                f"features; found {widths}"
            )
        self.modalities, self._widths = tuple(widths), widths
        self._columns = np.array([features.NAMES.index(name) for name in spec.features])
        ends = np.cumsum(list(widths.values())).tolist()
        self.columns = {name: slice(end - widths[name], end) for name, end in zip(widths, ends, strict=True)}
        ages = [(slot.min_age_ns, slot.max_age_ns) for slot in spec.slots]
        self._ages = tuple(np.array(bound, np.int64) for bound in zip(*ages, strict=True))
        self.session = open_session(bundle.read("fusion.onnx"), [], [ORT_CPU])
        expected = [(BLOCK, len(spec.heads)), (BLOCK, len(widths))]
        try:
            found: object = [output.shape for output in self.session.run(self._empty(BLOCK))]
        except Exception as error:  # ONNX Runtime's own have no other base
            found = error
        if found != expected:
            raise BundleError(
                f"{bundle.path / 'fusion.onnx'}: expected a graph that makes answers and shares {expected} of {widths} "
                f"columns, as fusion.json says; found {found}"
            )

    def score(self, bars: Singles | None, bars_end: Ints, kept: Mapping[str, Kept], now: Ints) -> Fused:
        """Return the risk of each row; a row's bits depend on nothing but the row.

        Parameters
        ----------
        bars
            Features (n, F) as `engines.features.NAMES` lists them, or None where no bar has closed.
        bars_end
            When each bar closed, ns (n,); of no meaning without bars.
        kept
            What is kept of other modalities, the same for all rows; those that the model does not know have no say. Of
            more columns than the model takes the last count: an embedding's logits.
        now
            The moment that each row speaks of, ns (n,).

        Raises
        ------
        ValueError
            A value is no number: it would spoil what is kept of it for good.
        """
        n = len(now)
        inputs = self._empty(-(-n // BLOCK) * BLOCK)
        x, since = inputs["x"], np.full((n, len(self.modalities)), _NEVER)
        for m, name in enumerate(self.modalities):
            if name == TICKS:
                if bars is not None:
                    x[:n, self.columns[name]] = bars.take(self._columns, axis=1)
                    np.subtract(now, bars_end, out=since[:, m])
            elif name in kept and len(kept[name].values) >= self._widths[name]:
                x[:n, self.columns[name]] = kept[name].values[-self._widths[name] :]
                np.subtract(now, kept[name].ts_event, out=since[:, m])
        low, high = self._ages
        there = since != _NEVER
        inputs["age"][:n] = age_input(np.minimum(np.maximum(since, low), high)) * there
        inputs["present"][:n] = present = since <= high
        if not math.isfinite(float(x.sum())):  # one that is not makes the sum so
            raise ValueError("fusion: expected finite numbers of every modality, found NaN or infinity")
        if len(x) == BLOCK:
            answers, shares = self.session.run(inputs)
        else:
            cuts = [slice(i, i + BLOCK) for i in range(0, len(x), BLOCK)]
            found = [self.session.run({k: array[cut] for k, array in inputs.items()}) for cut in cuts]
            answers, shares = map(np.concatenate, zip(*found, strict=True))
        return Fused(answers[:n, 0].astype(np.float64), shares[:n].astype(np.float64), present)

    def _empty(self, rows: int) -> dict[str, Singles]:
        m = len(self.modalities)
        return {
            "x": np.zeros((rows, self.columns[self.modalities[-1]].stop), np.float32),
            "age": np.zeros((rows, m), np.float32),
            "present": np.zeros((rows, m), np.float32),
        }


def age_input(age_ns: Ints) -> Floats:
    """Return what the model sees of ages: the logarithm of hours, in units of ten days' (float64, same shape)."""
    return np.asarray(np.log(age_ns / _HOUR_NS) / _AGE, np.float64)
