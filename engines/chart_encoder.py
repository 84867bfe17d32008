"""The chart encoder: one picture in, a vector to keep, a logit and a calibrated score out.

A picture runs with no other, in one shape whatever its own size is, on one thread: the same picture gives the same bits
whenever, beside whatever and from whichever thread it is asked.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from engines import charts
from engines.bundle import Bundle, BundleError
from engines.charts import BARS, HEIGHT_PX, PLAIN, WIDTH_PX
from engines.inference import ORDER, Array, Fallback, Inputs, Precision, Session, open_session
from engines.pictures import decode

Bytes = npt.NDArray[np.uint8]
Singles = npt.NDArray[np.float32]
MediaType = Literal["image/png", "image/jpeg"]

#: Strips that a chart is explained by: its variants without each of them run together, always as many.
TOGETHER = 6
GRAPH, SPEC = "chart.onnx", "chart.json"


class ChartSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What chart.json holds.

    ``dim`` is the length of a vector, ``height_px`` and ``width_px`` the size of what the network looks at; ``slope``
    and ``intercept`` calibrate its logit.
    """

    dim: int
    height_px: int
    width_px: int
    slope: float
    intercept: float


class Seen(NamedTuple):
    """What a chart says: ``vector`` float32 (dim,), ``logits`` float32 (1,).

    ``score`` is the calibrated probability that the next bar moves by more than two trailing standard deviations.
    """

    vector: Singles
    logits: Singles
    score: float


class Attribution(NamedTuple):
    """Columns ``[start, end)`` of the picture, in its own pixels, and what they add to the log odds of a large move."""

    start: int
    end: int
    weight: float


def of(
    bundle: Bundle,
    prefer: Sequence[str] = ORDER,
    *,
    plans: Path | None = None,
    fell: Callable[[Fallback], None] = lambda _: None,
    precision: Precision = "fp32",
) -> ChartEncoder | None:
    """Return the bundle's `ChartEncoder`, None where it has none; raise `BundleError` as that does."""
    if not {GRAPH, SPEC} & bundle.manifest.files.keys():
        return None
    return ChartEncoder(bundle, prefer, plans=plans, fell=fell, precision=precision)


class ChartEncoder:
    """Encodes pictures of charts with the bundle's network; threads may share one.

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
        What back ends compute in. There is no INT8 graph, for what it could save is less than decoding a picture costs:
        "int8" is fp32 here.

    Raises
    ------
    BundleError
        The bundle has no chart.onnx or chart.json, or one that does not hold what this version expects.
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
        if missing := {GRAPH, SPEC} - bundle.manifest.files.keys():
            raise BundleError(f"{bundle.path} has no {', '.join(sorted(missing))}: expected both files or neither")
        where = bundle.path / SPEC
        self._spec = bundle.decode(SPEC, ChartSpec)
        if (size := (self._spec.height_px, self._spec.width_px)) != (HEIGHT_PX, WIDTH_PX):
            raise BundleError(f"{where} wants charts of {size} pixels, this version makes {(HEIGHT_PX, WIDTH_PX)}")
        alone = [_inputs(picture[None]) for picture in probes()]
        together = [_inputs(_without_strips(picture)) for picture in probes()]
        self.session = open_session(
            bundle.read(GRAPH),
            [*alone, *together],
            prefer,
            plans=plans,
            fell=fell,
            precision="fp32" if precision == "int8" else precision,
            score=self._scores,
        )
        try:
            shapes = [out.shape for inputs in (alone[0], together[0]) for out in self.session.run(inputs)]
        except Exception as error:  # ONNX Runtime's own have no other base
            raise BundleError(f"{bundle.path / GRAPH} does not take charts: {error}") from error
        expected = [(rows, width) for rows in (1, TOGETHER) for width in (self._spec.dim, 1)]
        if shapes != expected:
            raise BundleError(f"{bundle.path / GRAPH} gives outputs of shapes {shapes}, expected {expected}")

    def encode(self, payload: bytes, media_type: MediaType) -> Seen:
        """Return what the encoder says of a picture; raise `engines.pictures.PictureError` if it is none."""
        return self._encode(charts.see(decode(payload, media_type)[None]))

    def read(self, payload: bytes, media_type: MediaType) -> tuple[Seen, list[Attribution]]:
        """Return what the encoder says of a picture, and where: `encode` and `explain` for one decoding."""
        picture = decode(payload, media_type)  # (height, width)
        looked = charts.see(picture[None])  # (1, 64, 60)
        seen = self._encode(looked)
        return seen, self._explain(looked, picture.shape[1], seen)

    def _encode(self, looked: Bytes) -> Seen:
        vectors, logits = (np.asarray(out, np.float32) for out in self.session.run(_inputs(looked)))  # (1, dim), (1, 1)
        return Seen(vectors[0], logits[0], float(self._scores({"1": logits})[0][0]))

    def explain(self, payload: bytes, media_type: MediaType, seen: Seen) -> list[Attribution]:
        """Return which columns of a picture its score rests on, from left to right, by taking the ink off strips.

        ``seen`` is what `encode` said of it. There are `TOGETHER` strips of one width, or nearly; a picture that has
        fewer columns has fewer strips.
        """
        picture = decode(payload, media_type)  # (height, width)
        return self._explain(charts.see(picture[None]), picture.shape[1], seen)

    def _explain(self, looked: Bytes, width: int, seen: Seen) -> list[Attribution]:
        _, without = self.session.run(_inputs(_without_strips(looked[0])))  # (TOGETHER, 1)
        weights = self._spec.slope * (seen.logits[0] - np.asarray(without, np.float64)[:, 0])  # (TOGETHER,)
        edges = [round(width * i / TOGETHER) for i in range(TOGETHER + 1)]
        return [
            Attribution(start, end, float(weight))
            for (start, end), weight in zip(itertools.pairwise(edges), weights, strict=True)
            if start < end
        ]

    def _scores(self, outputs: Inputs) -> tuple[Array]:
        """Return the scores (n,) of the session's outputs."""
        logits = np.asarray(outputs["1"], np.float64)[:, 0]  # (n,)
        return (1 / (1 + np.exp(-(self._spec.slope * logits + self._spec.intercept))),)


def probes() -> list[Bytes]:
    """Return what the parity gate compares on, each (64, 60): a quiet and a wild chart as we draw them, and no ink."""
    rng = np.random.default_rng(0)
    moves = rng.normal(0, 0.02, (2, BARS, 3)) * np.array([0.2, 1.0])[:, None, None]
    path = np.exp(moves.reshape(2, -1).cumsum(1)).reshape(2, BARS, 3)  # (chart, time, price)
    volume = rng.uniform(1, 9, (2, BARS))
    bars = np.stack([path[:, :, 0], path.max(2), path.min(2), path[:, :, 2], volume], 2)  # (chart, time, 5)
    return [*charts.draw(bars, PLAIN, path.mean(2)), np.zeros((HEIGHT_PX, WIDTH_PX), np.uint8)]


def _without_strips(picture: Bytes) -> Bytes:
    """Return ``picture`` (64, 60) without the ink of each of its strips, (TOGETHER, 64, 60)."""
    variants = np.repeat(picture[None], TOGETHER, axis=0)  # (TOGETHER, height, width)
    strips = variants.reshape(TOGETHER, HEIGHT_PX, TOGETHER, WIDTH_PX // TOGETHER)
    strips[np.arange(TOGETHER), :, np.arange(TOGETHER)] = 0
    return variants


def _inputs(pictures: Bytes) -> dict[str, Array]:
    """Return pictures (n, 64, 60) as the network takes them, (n, 1, 64, 60) in [0, 1]."""
    return {"charts": pictures[:, None].astype(np.float32) / np.float32(255)}
