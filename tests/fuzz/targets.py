"""What is fuzzed: each decoder of bytes that others send, with the refusals that it may answer by, and seeds.

Whatever else it raises, or a file that it lets pass and must not, is a finding. `tests.fuzz.run` drives them by
coverage, `test_targets` with a few hundred mutations of the seeds on every run of the tests.
"""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from engines import audio, onnx_files, pictures, rule_text, yaml_text
from engines.bundle import DEFAULT, MANIFEST, SIGNATURES, Bundle, BundleError
from engines.signatures import signer
from schemas import codec, media
from schemas.errors import BadMessage
from schemas.records import AudioSegment, ChartSnapshot
from schemas.topics import BY_NAME
from tests.engines.bundles import write_bundle
from tests.messages import INPUTS, NOW_NS, flac, good, jpeg, png, wav

TOPICS = sorted(name for name in BY_NAME if name in codec._TYPES or BY_NAME[name].codec == "arrow")


class Target(NamedTuple):
    """An entry point for bytes, and some that it takes."""

    run: Callable[[bytes], None]
    seeds: Callable[[], Iterator[bytes]]


def records(data: bytes) -> None:
    """A message of any topic: which one, the key's length, the key, the value."""
    topic, length = TOPICS[data[0] % len(TOPICS)] if data else TOPICS[0], data[1] if len(data) > 1 else 0
    key, value = data[2 : 2 + length], data[2 + length :]
    with suppress(BadMessage):
        record = codec.decode(topic, key, value, NOW_NS // 10**6)
        codec.encode(record)


def _message(topic: str, key: bytes, value: bytes) -> bytes:
    return bytes([TOPICS.index(topic), len(key)]) + key + value


def _records(topics: tuple[str, ...]) -> Iterator[bytes]:
    rng = random.Random(1)
    for topic in topics:
        for _ in range(3):
            _, key, value, _ = good(rng, topic)
            if len(value or b"") < 16_384:
                yield _message(topic, key or b"", value or b"")


def frames(data: bytes) -> None:
    """A frame of ticks or of orders."""
    topic = ("frames", "orders")[data[0] % 2] if data else "frames"
    records(bytes([TOPICS.index(topic)]) + data[1:])


def _frames() -> Iterator[bytes]:
    for seed in _records(("frames", "orders")):
        yield bytes([TOPICS[seed[0]] == "orders"]) + seed[1:]


def onnx(data: bytes) -> None:
    """An ONNX file: what passes has, by ONNX's own parser, no tensor elsewhere and no operator of others."""
    if onnx_files.fault(data):
        return
    with suppress(ImportError):
        import onnx as reference
        from google.protobuf.message import DecodeError

        with suppress(DecodeError):
            model = reference.ModelProto.FromString(data)
            assert not list(_elsewhere(model)), "a tensor's data lie elsewhere"
            assert {one.domain for one in model.opset_import} <= onnx_files.OPSETS.keys(), "operators of others"


def _elsewhere(message: Any) -> Iterator[Any]:
    for field, value in message.ListFields():
        if field.name in ("external_data", "data_location"):
            yield value
        if field.message_type is not None:
            for one in value if field.is_repeated else [value]:
                yield from _elsewhere(one)


def _onnx() -> Iterator[bytes]:
    yield (DEFAULT / "credit.onnx").read_bytes()[:8_192]
    for model in ("3a042a027001", "3a080a062a042a027001", "42030a0178", "3a050a033a0178", "42021014"):
        yield bytes.fromhex(model)


_TRUSTED = "0123456789abcdef"


@cache
def _folder() -> Path:
    return write_bundle(Path(tempfile.mkdtemp(prefix=f"tocsin-fuzz-{os.getpid()}-")) / "bundle")


def manifest(data: bytes) -> None:
    """A bundle's manifest, or its signatures."""
    folder = _folder()
    name = (MANIFEST, SIGNATURES)[data[0] % 2] if data else MANIFEST
    kept = (folder / MANIFEST).read_bytes()
    (folder / name).write_bytes(data[1:])
    try:
        with suppress(BundleError):
            signer(Bundle.load(folder), {_TRUSTED: Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key()})
    finally:
        (folder / MANIFEST).write_bytes(kept)
        (folder / SIGNATURES).unlink(missing_ok=True)


def _manifests() -> Iterator[bytes]:
    yield b"\0" + (_folder() / MANIFEST).read_bytes()
    yield b"\1" + b'{"signatures": {"%s": "AAAA"}}' % _TRUSTED.encode()


def rules(data: bytes) -> None:
    """A rule file, and YAML as settings and policies are read."""
    with suppress(UnicodeDecodeError):
        text = data.decode()
        with suppress(rule_text.RulesError):
            rule_text.read(text)
        with suppress(yaml.YAMLError):
            yaml_text.load(text)


def _rules() -> Iterator[bytes]:
    examples = Path(__file__).parents[2] / "examples"
    yield from ((examples / name).read_bytes() for name in ("rules.yaml", "policy.yaml"))
    yield b"version: 1\ntypologies: {pump_and_dump: {hold: 30 min, parameters: {rise: 1e3}}}\n"
    yield b"version: &a 1\nscenarios: [*a, {name: b, weights: {spoofing: .inf}}]\nsessions: {XTOC: 09:00-17:30}\n"


SOUNDS = ("audio/wav", "audio/flac", "audio/L16")


def sound(data: bytes) -> None:
    """A sound of any format: what its header says, then its samples."""
    kind = SOUNDS[data[0] % len(SOUNDS)] if data else SOUNDS[0]
    segment = AudioSegment(
        ts_event=1,
        ts_available=1,
        instrument="A.X",
        call_id="c",
        segment=0,
        media_type=kind,
        sample_rate_hz=8_000,
        payload=data[1:],
    )
    with suppress(BadMessage):
        media.check_audio(segment)
    with suppress(audio.AudioError):
        audio.decode(segment.payload, kind, 8_000, 1)


def _sounds() -> Iterator[bytes]:
    yield b"\0" + wav(8_000, 1, 40)
    yield b"\0" + wav(44_100, 2, 40)
    yield b"\1" + flac(8_000, 1, 4_096)
    yield b"\2" + bytes(64)


PICTURES = ("image/png", "image/jpeg")


def picture(data: bytes) -> None:
    """A picture of either format: what its header says, then its pixels."""
    kind = PICTURES[data[0] % len(PICTURES)] if data else PICTURES[0]
    chart = ChartSnapshot(
        ts_event=1, ts_available=1, instrument="A.X", media_type=kind, width=4, height=3, payload=data[1:]
    )
    with suppress(BadMessage):
        media.check_chart(chart)
    with suppress(pictures.PictureError):
        pictures.decode(chart.payload, kind)


def _pictures() -> Iterator[bytes]:
    yield b"\0" + png(4, 3)
    yield b"\1" + jpeg(4, 3)
    yield from (b"\1" + path.read_bytes() for path in sorted((Path(__file__).parent / "seeds").glob("*.jpeg")))


TARGETS = {
    "records": Target(records, lambda: _records(INPUTS)),
    "frames": Target(frames, _frames),
    "onnx": Target(onnx, _onnx),
    "manifest": Target(manifest, _manifests),
    "rules": Target(rules, _rules),
    "sound": Target(sound, _sounds),
    "picture": Target(picture, _pictures),
}


def mutated(seed: bytes, rng: random.Random) -> bytes:
    """Return bytes with a few of them turned over, cut out, said again or overwritten by what decoders dislike."""
    data = bytearray(seed)
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.randrange(len(data) + 1)
        match rng.randrange(5):
            case 0 if at < len(data):
                data[at] ^= 1 << rng.randrange(8)
            case 1:
                del data[at : at + rng.randrange(1, 9)]
            case 2:
                data[at:at] = data[at : at + rng.randrange(1, 33)]
            case 3:
                data[at : at + 4] = rng.choice(
                    (b"\xff\xff\xff\xff", bytes(4), b"\x7f\xff\xff\xff", b"\x00\x00\x00\x80")
                )
            case _:
                data[at:at] = rng.choice((b"[" * 40, b"{", b"&a ", b"*a", b"1e999", b"-0", b"\xed\xa0\x80", b"\0"))
    return bytes(data)


def encode_report(rows: list[dict[str, object]]) -> bytes:
    """Return what a run of the fuzzers found, as JSON."""
    return msgspec.json.format(msgspec.json.encode(rows), indent=1) + b"\n"
