"""The voice encoder on an untrained network: what goes in, how long it may be, what is refused, what is explained."""

from __future__ import annotations

import hashlib
import io
import itertools
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import pytest

pytest.importorskip("torch", reason="an untrained network is made with torch: install the extra `train`")

import torch

from engines import voice
from engines.audio import MELS, SAMPLE_RATE_HZ, AudioError, Sound, decode, decode_l16, resample, wav
from engines.bundle import Bundle, BundleError, Entry, Manifest
from engines.inference import ORDER, ORT_CPU
from engines.simulator import voices
from engines.training.export import onnx_of
from engines.training.models import voice as network
from engines.voice import Heard, VoiceEncoder, VoiceSpec
from tests.engines.bundles import write_bundle

SPEC = VoiceSpec(
    dim=network.DIM, frames=network.FRAMES, decades=network.DECADES, slope=8.0, intercept=-1.0, probes=[1, 2]
)


@pytest.fixture(scope="module")
def graph() -> bytes:
    torch.manual_seed(0)
    return onnx_of(network.Voice(), {"level": torch.rand(2, 1, MELS, network.FRAMES)}, ["vector", "logit"])


def bundle(folder: Path, **contents: bytes) -> Bundle:
    """Return a small bundle with voice_onnx and voice_json, where given."""
    write_bundle(folder)
    manifest = msgspec.json.decode((folder / "manifest.json").read_bytes(), type=Manifest)
    for name, content in contents.items():
        (folder / name.replace("_", ".")).write_bytes(content)
        manifest.files[name.replace("_", ".")] = Entry(hashlib.sha256(content).hexdigest(), len(content))
    (folder / "manifest.json").write_bytes(msgspec.json.encode(manifest))
    return Bundle.load(folder)


@pytest.fixture(scope="module")
def encoder(graph: bytes, tmp_path_factory: pytest.TempPathFactory) -> VoiceEncoder:
    folder = tmp_path_factory.mktemp("voice") / "bundle"
    made = voice.of(bundle(folder, voice_onnx=graph, voice_json=msgspec.json.encode(SPEC)), [ORT_CPU])
    assert made is not None
    return made


def said(seed: int, seconds: float) -> npt.NDArray[np.int16]:
    rng = np.random.default_rng(seed)
    return voices.speak(rng, voices.speaker(rng), voices.line(rng), 0.5, seconds)


def encoded(encoder: VoiceEncoder, samples: npt.NDArray[np.int16]) -> Heard:
    return encoder.encode(wav(samples), "audio/wav", SAMPLE_RATE_HZ, 1)


def odds(heard: Heard) -> float:
    return float(np.log(heard.score / (1.0 - heard.score)))


def test_a_clip_has_a_vector_a_logit_and_a_score_that_is_its_calibrated_log_odds(encoder: VoiceEncoder) -> None:
    heard = encoded(encoder, said(1, 2.5))
    assert heard.vector.shape == (32,)
    assert heard.vector.dtype == heard.logits.dtype == np.float32
    assert heard.logits.shape == (1,)
    assert odds(heard) == pytest.approx(8.0 * float(heard.logits[0]) - 1.0, abs=1e-6)
    assert encoded(encoder, said(1, 2.5)).vector.tobytes() == heard.vector.tobytes()
    assert encoded(encoder, said(2, 2.5)).vector.tobytes() != heard.vector.tobytes()


@pytest.mark.parametrize("count", [1, 79, 200, 281, 24_120, 24_121, 24_200, 200_000])
def test_any_length_is_heard(encoder: VoiceEncoder, count: int) -> None:
    samples = np.tile(said(1, 3.0), 9)[:count]
    heard = encoded(encoder, samples)
    assert np.isfinite(heard.vector).all()
    assert 0.0 < heard.score < 1.0
    parts = encoder.explain(wav(samples), "audio/wav", SAMPLE_RATE_HZ, 1)
    assert parts[0].start_ms == 0
    assert all(a.end_ms == b.start_ms for a, b in itertools.pairwise(parts))
    assert all(part.start_ms < part.end_ms for part in parts)
    assert abs(parts[-1].end_ms - count / 8) <= 25


@pytest.mark.parametrize("loudness", [0, 1])
def test_silence_is_heard_as_nothing_at_all(encoder: VoiceEncoder, loudness: int) -> None:
    """As a network sees it: -1 everywhere; so digital silence and the last bit's flicker are one."""
    flicker = np.random.default_rng(0).integers(0, loudness + 1, 24_000).astype(np.int16)
    vector, _ = encoder.session.run({"level": np.full((1, 1, MELS, network.FRAMES), -1.0, np.float32)})
    assert encoded(encoder, flicker).vector.tobytes() == vector[0].tobytes()


def test_how_loud_somebody_is_says_nothing(encoder: VoiceEncoder) -> None:
    samples = said(1, 2.0).astype(np.float64)
    loud, soft = (encoded(encoder, np.round(samples * share).astype(np.int16)) for share in (1.0, 0.5))
    np.testing.assert_allclose(loud.vector, soft.vector, atol=0.02)


def test_windows_of_a_long_clip_are_averaged(encoder: VoiceEncoder) -> None:
    """48,080 samples are 599 frames of 80 samples and a window's 120 more: two windows, of 299 and of 300."""
    both = np.concatenate([said(1, 3.0), said(2, 3.01)])[:48_080]
    apart = [encoded(encoder, both[:24_040]), encoded(encoder, both[299 * 80 : 598 * 80 + 200])]
    heard = encoded(encoder, both)
    np.testing.assert_allclose(heard.logits, np.mean([part.logits for part in apart], axis=0), atol=1e-6)
    np.testing.assert_allclose(heard.vector, np.mean([part.vector for part in apart], axis=0), atol=1e-6)
    assert abs(apart[0].logits[0] - apart[1].logits[0]) > 1e-4


def test_pauses_are_left_out(encoder: VoiceEncoder) -> None:
    """The sound's first window, of 299 frames, ends after the voice; two of noise follow, 60 dB below it."""
    quiet = np.random.default_rng(0).integers(-3, 4, 48_100).astype(np.int16)
    paused = np.concatenate([said(1, 3.0)[:23_900], quiet])
    assert encoded(encoder, paused).vector.tobytes() == encoded(encoder, paused[:24_040]).vector.tobytes()


def test_bytes_are_the_same_sound_in_every_form(encoder: VoiceEncoder) -> None:
    samples = said(1, 2.0)
    from_wav = encoded(encoder, samples)
    bare = encoder.encode(samples.astype(">i2").tobytes(), "audio/L16", SAMPLE_RATE_HZ, 1)
    assert bare.vector.tobytes() == from_wav.vector.tobytes()
    wide = resample(Sound(samples / 2.0**15, SAMPLE_RATE_HZ), 16_000)
    stereo = np.repeat(np.round(wide * 2**15).astype(">i2"), 2)
    again = encoder.encode(stereo.tobytes(), "audio/L16", 16_000, 2)
    np.testing.assert_allclose(again.logits, from_wav.logits, atol=5e-3)


def test_l16_has_its_high_byte_first_and_its_channels_side_by_side() -> None:
    """RFC 3551: 0x4000 is half of full scale, in network byte order."""
    assert decode_l16(b"\x40\x00\x00\x40", 8_000, 1).samples.tolist() == [0.5, 2.0**-9]
    samples, rate_hz = decode_l16(b"\x40\x00\xc0\x00\x20\x00\x20\x00", 44_100, 2)
    assert (samples.tolist(), rate_hz) == ([0.0, 0.25], 44_100)


def test_flac_is_the_sound_that_wav_is(encoder: VoiceEncoder) -> None:
    soundfile = pytest.importorskip("soundfile", reason="FLAC is an extra: flac")
    samples = said(1, 2.0)
    with io.BytesIO() as held:
        soundfile.write(held, samples, SAMPLE_RATE_HZ, format="FLAC", subtype="PCM_16")
        packed = held.getvalue()
    heard = encoder.encode(packed, "audio/flac", SAMPLE_RATE_HZ, 1)
    assert heard.vector.tobytes() == encoded(encoder, samples).vector.tobytes()
    for broken in (packed[: len(packed) // 2], packed[:60], packed[:200] + bytes(300) + packed[500:]):
        with pytest.raises(AudioError, match="FLAC"):
            encoder.encode(broken, "audio/flac", SAMPLE_RATE_HZ, 1)


def test_flac_that_unfolds_to_too_much_is_refused_before_it_does(monkeypatch: pytest.MonkeyPatch) -> None:
    soundfile = pytest.importorskip("soundfile", reason="FLAC is an extra: flac")
    monkeypatch.setattr("engines.audio.MAX_SAMPLES", 999)
    with io.BytesIO() as held:
        soundfile.write(held, np.zeros((500, 2), np.int16), SAMPLE_RATE_HZ, format="FLAC")
        with pytest.raises(AudioError, match=r"expected 1 to 999 samples, found 500 × 2"):
            decode(held.getvalue(), "audio/flac", SAMPLE_RATE_HZ, 2)


def test_flac_without_its_extra_is_refused_with_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(AudioError, match="install the extra `flac`"):
        decode(b"fLaC", "audio/flac", SAMPLE_RATE_HZ, 1)


@pytest.mark.parametrize(
    ("payload", "media_type", "told"),
    [
        (b"", "audio/wav", "expected a WAV file"),
        (wav(np.ones(99, np.int16))[:-20], "audio/wav", "expected 99 frames"),
        (b"", "audio/L16", "expected samples of 2 bytes"),
        (b"\x00\x01\x02", "audio/L16", "found 3 bytes"),
        (wav(np.ones(99, np.int16), 16_000), "audio/wav", "expected 8000 Hz as declared, found 16000 Hz"),
        (b"OggS", "audio/ogg", "expected audio/wav, audio/flac or audio/L16, found audio/ogg"),
    ],
)
def test_damaged_sound_is_refused(encoder: VoiceEncoder, payload: bytes, media_type: str, told: str) -> None:
    with pytest.raises(AudioError, match=told):
        encoder.encode(payload, media_type, SAMPLE_RATE_HZ, 1)


def test_a_stretch_weighs_what_silencing_it_takes_away(encoder: VoiceEncoder) -> None:
    samples = said(1, 3.0)
    heard = encoded(encoder, samples)
    parts = encoder.explain(wav(samples), "audio/wav", SAMPLE_RATE_HZ, 1)
    assert len(parts) == voice.TOGETHER
    (window,) = encoder._windows(samples / 2.0**15)
    level = window.level.copy()
    level[:, :, :, parts[2].start_ms // 10 : parts[2].end_ms // 10] = -1.0
    _, logit = encoder.session.run({"level": level})
    assert parts[2].weight == pytest.approx(odds(heard) - (8.0 * float(logit[0, 0]) - 1.0), abs=1e-4)
    assert max(abs(part.weight) for part in parts) > 1e-3


def test_of_a_long_clip_the_heaviest_window_is_taken_apart(encoder: VoiceEncoder) -> None:
    samples = np.concatenate([said(seed, 3.0) for seed in range(4)])
    parts = encoder.explain(wav(samples), "audio/wav", SAMPLE_RATE_HZ, 1)
    assert len(parts) == 3 + voice.TOGETHER
    lengths = [part.end_ms - part.start_ms for part in parts]
    assert sum(length > 2_000 for length in lengths) == 3
    one = next(i for i, length in enumerate(lengths) if length > 2_000)
    told = [odds(encoded(encoder, samples[24_000 * i : 24_000 * i + 24_000])) for i in range(4)]
    at = round(parts[one].start_ms / 3_000)
    expected = np.mean(told) - np.mean([x for i, x in enumerate(told) if i != at])
    assert parts[one].weight == pytest.approx(expected, abs=0.02)


def test_every_back_end_here_passes_the_gate_or_the_reference_serves(graph: bytes, tmp_path: Path) -> None:
    spec = msgspec.json.encode(SPEC)
    served = VoiceEncoder(bundle(tmp_path / "b", voice_onnx=graph, voice_json=spec), ORDER, precision="int8")
    assert served.session.precision == "fp32"
    assert served.session.difference <= 1e-4


def test_a_bundle_without_a_voice_has_none_and_half_of_one_is_refused(graph: bytes, tmp_path: Path) -> None:
    assert voice.of(bundle(tmp_path / "none")) is None
    with pytest.raises(BundleError, match=r"has voice\.onnx alone: expected voice\.onnx and voice\.json, or neither"):
        voice.of(bundle(tmp_path / "half", voice_onnx=graph))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"dim": 16}, r"gives \(1, 32\) and \(1, 1\), expected \(1, 16\)"),
        ({"probes": []}, "has no probe"),
        ({"slope": "steep"}, r"voice\.json: Expected `float`"),
    ],
)
def test_files_that_do_not_fit_are_refused(graph: bytes, tmp_path: Path, changes: dict[str, object], told: str) -> None:
    spec = msgspec.json.encode(msgspec.to_builtins(SPEC) | changes)
    with pytest.raises(BundleError, match=told):
        VoiceEncoder(bundle(tmp_path / "bundle", voice_onnx=graph, voice_json=spec), [ORT_CPU])


def test_a_level_is_one_at_the_loudest_and_silence_follows() -> None:
    heard = np.full((2, MELS), -6.0)
    heard[0, 0] = -3.5
    seen = voice.level(heard, 4, 5.0)
    assert seen.shape == (MELS, 4)
    assert seen.dtype == np.float32
    assert seen[0].tolist() == pytest.approx([1.0, 0.0, -1.0, -1.0])  # 2.5 of 5 decades below are half way
