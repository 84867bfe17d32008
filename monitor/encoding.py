"""What is encoded, and by which member of the bundle: a record in, the embedding that is kept of it out.

Encoders run off the event loop, in whichever thread; the same record gives the same embedding in any of them, and in
whatever company. `TURNS` of them compute at a time: the texts among those that wait make the next batch.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import structlog

from agents.flow import Value
from agents.text import words
from engines import chart_encoder, inference
from engines import voice as voice_encoder
from engines.audio import AudioError
from engines.bundle import Bundle
from engines.chart_encoder import ChartEncoder
from engines.inference import OPENVINO, ORDER, Precision, Session
from engines.pictures import PictureError
from engines.plans import PLANS
from engines.text import Attribution, Encoded, TextEncoder
from engines.tracks import Embedding
from engines.typologies import adverse_text
from engines.voice import VoiceEncoder
from monitor.batching import Batcher, Once
from schemas.errors import BadMessage
from schemas.journal import Fallback
from schemas.records import AudioSegment, ChartSnapshot, News, TranscriptSegment

log = structlog.get_logger(__name__)
#: The back ends of the small members, in their order: OpenVINO takes twice as long for them as ONNX Runtime.
SMALL = tuple(name for name in ORDER if name != OPENVINO)
#: Encoders that compute at a time.
TURNS = 2
#: Texts of which is remembered what was made of them.
TEXTS_KEPT = 256
Encode = Callable[[Value], Embedding]


@dataclass(frozen=True, slots=True, kw_only=True)
class Members:
    """The members of a bundle: ``encoders`` by modality, the ``sessions`` that they run by their names."""

    encoders: Mapping[str, Encode]
    sessions: Mapping[str, Session]


def load_members(
    bundle: Bundle,
    *,
    fused: Collection[str],
    cache: Path,
    precision: Precision,
    fell: Callable[[Fallback], None] = lambda _: None,
) -> Members:
    """Return what encodes with ``bundle``; a modality that it has no member for has no encoder.

    Parameters
    ----------
    fused
        The modalities that the fusion model knows: sound is explained where it has a say.
    cache
        Where compiled plans are kept.
    precision
        What the text encoder computes in where its back end can; the small members compute in fp32.
    fell
        Is told of a back end that failed in service, by an encoding thread.

    Raises
    ------
    BundleError
        A member's file does not hold what this version expects.
    """

    def telling(member: str) -> Callable[[inference.Fallback], None]:
        def fallen(found: inference.Fallback) -> None:
            told = Fallback(member, found.failed, found.serves, found.reason)
            log.error(
                "back end failed in service", member=member, backend=told.failed, reason=told.reason, serves=told.serves
            )
            fell(told)

        return fallen

    plans, turns = cache / PLANS, threading.Semaphore(TURNS)
    text = TextEncoder(bundle, plans=plans, fell=telling("text"), precision=precision)
    batched = Batcher(text.encode_all, text.most, turns)

    def read(said: str) -> tuple[Encoded, list[Attribution]]:
        encoded = batched(text.inputs(said))
        if encoded.score < adverse_text.SPEC.open:
            return encoded, []
        with turns:
            return encoded, text.explain(said, encoded)

    # A document comes once for each instrument that it names, one after the other.
    known = Once(read, TEXTS_KEPT)

    def encode_text(record: Value) -> Embedding:
        assert isinstance(record, News | TranscriptSegment)
        encoded, spans = known(words(record))
        return _embedding(record, encoded.vector, encoded.logits, encoded.score, spans, bundle.id, encoded.tone)

    encoders: dict[str, Encode] = {"text": encode_text, "calls": encode_text}
    sessions = {"text": text.session}
    if (chart := chart_encoder.of(bundle, SMALL, plans=plans, fell=telling("chart"))) is not None:
        encoders["chart"], sessions["chart"] = _in_turn(turns, _of_charts(chart, bundle.id)), chart.session
    if (voice := voice_encoder.of(bundle, SMALL, plans=plans, fell=telling("voice"))) is not None:
        heard = _of_sound(voice, "audio" in fused, bundle.id)
        encoders["audio"], sessions["voice"] = _in_turn(turns, heard), voice.session
    return Members(encoders=encoders, sessions=sessions)


def _in_turn(turns: threading.Semaphore, encode: Encode) -> Encode:
    def encode_in_turn(record: Value) -> Embedding:
        with turns:
            return encode(record)

    return encode_in_turn


def _of_charts(encoder: ChartEncoder, bundle: str) -> Encode:
    def encode(record: Value) -> Embedding:
        assert isinstance(record, ChartSnapshot)
        try:
            seen, spans = encoder.read(record.payload, record.media_type)
        except PictureError as error:
            raise BadMessage("bad_media", str(error)) from error
        return _embedding(record, seen.vector, seen.logits, seen.score, spans, bundle)

    return encode


def _of_sound(encoder: VoiceEncoder, explained: bool, bundle: str) -> Encode:
    def encode(record: Value) -> Embedding:
        assert isinstance(record, AudioSegment)
        shape = (record.payload, record.media_type, record.sample_rate_hz, record.channels)
        try:
            heard = encoder.encode(*shape)
            spans = encoder.explain(*shape) if explained else []
        except AudioError as error:
            raise BadMessage("bad_media", str(error)) from error
        return _embedding(record, heard.vector, heard.logits, heard.score, spans, bundle)

    return encode


def _embedding(
    record: News | TranscriptSegment | ChartSnapshot | AudioSegment,
    vector: npt.NDArray[np.float32],
    logits: npt.NDArray[np.float32],
    score: float,
    spans: Iterable[tuple[int, int, float]],
    bundle: str,
    tone: float = 0.0,
) -> Embedding:
    return Embedding(
        ts_event=record.ts_event,
        ts_available=record.ts_available,
        vector=vector.tobytes(),
        score=score,
        logits=logits.tolist(),
        spans=[(first, last, weight) for first, last, weight in spans],
        tone=tone,
        bundle=bundle,
    )
