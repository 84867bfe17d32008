"""Encoders by modality: what the shipped bundle makes of a picture and of sound, and what is none of either."""

from __future__ import annotations

import numpy as np
import pytest

from engines import charts
from engines.bundle import DEFAULT, Bundle
from engines.chart_encoder import MediaType
from engines.simulator import voices
from monitor.encoding import Members, load_members
from schemas.errors import BadMessage
from schemas.records import AudioSegment, ChartSnapshot

AT = 1_741_012_200_000_000_000


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> Members:
    return load_members(
        Bundle.load(DEFAULT), fused=("audio",), cache=tmp_path_factory.mktemp("cache"), precision="fp32"
    )


def snapshot(payload: bytes, media_type: MediaType = "image/png") -> ChartSnapshot:
    return ChartSnapshot(
        ts_event=AT, ts_available=AT, instrument="A.X", media_type=media_type, width=60, height=64, payload=payload
    )


def spoken(payload: bytes) -> AudioSegment:
    return AudioSegment(
        ts_event=AT, ts_available=AT, instrument="A.X", call_id="c", segment=0, media_type="audio/L16",
        sample_rate_hz=8_000, payload=payload,
    )  # fmt: skip


def picture(move: float) -> bytes:
    """Return a chart of 20 bars whose last one leaps by ``move``."""
    close = 50.0 + 0.2 * np.sin(np.arange(20.0))
    close[-1] *= 1.0 + move
    opens = np.concatenate([[50.0], close[:-1]])
    bars = np.stack([opens, np.maximum(opens, close) + 0.1, np.minimum(opens, close) - 0.1, close, np.full(20, 9.0)], 1)
    return charts.png(charts.draw(bars[None], charts.PLAIN)[0])


def test_every_modality_has_an_encoder_in_what_ships(members: Members) -> None:
    assert set(members.encoders) == {"text", "calls", "chart", "audio"}
    assert set(members.sessions) == {"text", "chart", "voice"}


def test_a_chart_has_an_embedding_with_its_strips(members: Members) -> None:
    found = members.encoders["chart"](snapshot(picture(0.3)))
    assert len(np.frombuffer(found.vector, np.float32)) == 32
    assert 0.0 < found.score < 1.0
    assert [span[0] for span in found.spans] == [0, 10, 20, 30, 40, 50]
    assert found == members.encoders["chart"](snapshot(picture(0.3)))
    assert found.score != members.encoders["chart"](snapshot(picture(0.0))).score


def test_a_tense_voice_scores_above_a_calm_one(members: Members) -> None:
    def score(stress: float, seed: int) -> float:
        rng = np.random.default_rng(seed)
        said = voices.speak(rng, voices.speaker(rng), voices.line(rng), stress, 2.5)
        return members.encoders["audio"](spoken(said.astype(">i2").tobytes())).score

    calm, tense = (np.mean([score(stress, seed) for seed in range(8)]) for stress in (0.1, 0.9))
    assert tense > calm + 0.2


@pytest.mark.parametrize("record", [snapshot(b"\x89PNG\r\n\x1a\nnot a picture"), snapshot(b"", "image/jpeg")])
def test_what_is_no_picture_is_a_bad_message(members: Members, record: ChartSnapshot) -> None:
    with pytest.raises(BadMessage, match="expected") as raised:
        members.encoders["chart"](record)
    assert raised.value.reason == "bad_media"
