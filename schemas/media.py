"""Sound and pictures on the wire: a 4-byte big-endian length, a header in JSON, then the payload.

The payload's own header is read and held against what the message declares, and against bounds on what it would
unfold to, before any decoder sees it. Pixels and samples are not decoded here.

Formats: PNG (ISO/IEC 15948), JPEG (ITU-T T.81, annex B), RIFF WAVE, FLAC (RFC 9639), linear PCM (RFC 3551, L16).
"""

from __future__ import annotations

import struct
import zlib

from schemas.errors import BadMessage
from schemas.records import AudioSegment, ChartSnapshot

MAX_AUDIO_S = 600
MAX_HEADER_BYTES = 65_536
#: Chunks, segments and blocks of a file: encoders write one a kilobyte at most, and each costs time before it is known.
MAX_PARTS = 16_384

_PNG = b"\x89PNG\r\n\x1a\n"
#: PNG colour type → bit depths that go with it.
_PNG_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_WAV_PCM, _WAV_FLOAT, _WAV_EXTENSIBLE = 1, 3, 0xFFFE


def split(value: bytes) -> tuple[bytes, bytes]:
    """Return a message's header (JSON) and payload.

    Raises
    ------
    BadMessage: "bad_media": the lengths do not fit the message.
    """
    length = int.from_bytes(value[:4], "big")
    if len(value) < 4 or not 2 <= length <= min(len(value) - 4, MAX_HEADER_BYTES):
        raise _bad(f"a header of 2 to {MAX_HEADER_BYTES} bytes within the message", f"{length} of {len(value)} bytes")
    if len(value) == 4 + length:
        raise _bad("a payload after the header", "none")
    return value[4 : 4 + length], value[4 + length :]


def join(header: bytes, payload: bytes) -> bytes:
    """Return the message of a header (JSON) and a payload."""
    return len(header).to_bytes(4, "big") + header + payload


def check_chart(chart: ChartSnapshot) -> None:
    """Hold a picture's own header against the declared width and height.

    Raises
    ------
    BadMessage: "bad_media": damaged, cut short, another format, or another size than declared.
    """
    size = _png_size(chart.payload) if chart.media_type == "image/png" else _jpeg_size(chart.payload)
    if size != (chart.width, chart.height):
        raise _bad(
            f"{chart.width} x {chart.height} pixels as declared", f"{size[0]} x {size[1]} in the picture's header"
        )


def check_audio(audio: AudioSegment) -> None:
    """Hold a recording's own header against the declared rate and channels, and its length against the payload's.

    Raises
    ------
    BadMessage: "bad_media": damaged, cut short, another format than declared, or longer than `MAX_AUDIO_S`.
    """
    if audio.media_type == "audio/L16":
        rate, channels = audio.sample_rate_hz, audio.channels
        frames, rest = divmod(len(audio.payload), 2 * channels)
        if rest:
            raise _bad(f"whole samples of 2 bytes and {channels} channels", f"{rest} bytes left over")
    else:
        shape = _wav_shape if audio.media_type == "audio/wav" else _flac_shape
        rate, channels, frames = shape(audio.payload)
    if (rate, channels) != (audio.sample_rate_hz, audio.channels):
        raise _bad(
            f"{audio.sample_rate_hz} Hz in {audio.channels} channels as declared",
            f"{rate} Hz in {channels} in the sound's header",
        )
    if not 0 < frames <= MAX_AUDIO_S * rate:
        raise _bad(f"up to {MAX_AUDIO_S} s of sound", f"{frames} samples at {rate} Hz")


def _bad(expected: str, found: str) -> BadMessage:
    return BadMessage("bad_media", f"expected {expected}, found {found}; send the file as its encoder wrote it")


def _too_many() -> BadMessage:
    return _bad(f"up to {MAX_PARTS:,} parts of a file", "more")


def _png_size(payload: bytes) -> tuple[int, int]:
    if not payload.startswith(_PNG):
        raise _bad("a PNG file", repr(payload[:8]))
    position, size, data = len(_PNG), (0, 0), False
    view = memoryview(payload)
    for _ in range(MAX_PARTS):
        if position + 12 > len(payload):
            raise _bad("a PNG file up to its IEND chunk", "its end before that")
        length, kind = struct.unpack_from(">I4s", view, position)
        end = position + 12 + length
        if end > len(payload):
            raise _bad(f"{length} bytes in PNG chunk {kind!r}", f"{len(payload) - position - 12}")
        if zlib.crc32(view[position + 4 : end - 4]) != int.from_bytes(view[end - 4 : end], "big"):
            raise _bad(f"PNG chunk {kind!r} with a sound checksum", "a damaged one")
        if (kind == b"IHDR") != (position == len(_PNG)):
            raise _bad("one IHDR, first of the PNG chunks", f"{kind!r} at byte {position}")
        if kind == b"IHDR":
            if length != 13:
                raise _bad("13 bytes of IHDR", str(length))
            width, height, depth, colour, compression, filtering, _ = struct.unpack_from(">IIBBBBB", view, position + 8)
            if depth not in _PNG_DEPTHS.get(colour, ()) or compression or filtering:
                raise _bad("a PNG colour type and depth of the standard", f"type {colour}, depth {depth}")
            size = (width, height)
        data = data or kind == b"IDAT"
        if kind == b"IEND":
            if not data or end != len(payload):
                raise _bad("a PNG file that ends with IEND, after IDAT", "no IDAT, or bytes after the end")
            return size
        position = end
    raise _too_many()


def _jpeg_size(payload: bytes) -> tuple[int, int]:
    if not payload.startswith(b"\xff\xd8\xff") or not payload.endswith(b"\xff\xd9"):
        raise _bad("a JPEG file from SOI to EOI", f"{payload[:3]!r} ... {payload[-2:]!r}")
    position, size = 2, (0, 0)
    for _ in range(MAX_PARTS):
        if position + 4 > len(payload) or payload[position] != 0xFF:
            raise _bad("a JPEG marker", f"none at byte {position}")
        marker = payload[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
            continue
        length = int.from_bytes(payload[position + 2 : position + 4], "big")
        end = position + 2 + length
        if length < 2 or end > len(payload) - 2:
            raise _bad("JPEG segments within the file", f"one of {length} bytes at byte {position}")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            if size != (0, 0) or length < 8:
                raise _bad("one JPEG frame header", "another, or a short one")
            height, width = struct.unpack_from(">HH", payload, position + 5)
            size = (width, height)
        elif marker == 0xDA:
            if size == (0, 0):
                raise _bad("a JPEG frame header before the scan", "none")
            return size
        elif marker < 0xC0 or 0xD0 <= marker <= 0xD9:
            raise _bad("a JPEG segment before the scan", f"marker {marker:#04x}")
        position = end
    raise _too_many()


def _wav_shape(payload: bytes) -> tuple[int, int, int]:
    if payload[:4] != b"RIFF" or payload[8:12] != b"WAVE":
        raise _bad("a RIFF WAVE file", repr(payload[:12]))
    riff = int.from_bytes(payload[4:8], "little")
    if riff + 8 != len(payload):
        raise _bad(f"{riff + 8} bytes as RIFF says", str(len(payload)))
    position, shape = 12, None
    for _ in range(MAX_PARTS):
        if position + 8 > len(payload):
            raise _bad("WAVE data", "none")
        kind, length = struct.unpack_from("<4sI", payload, position)
        start = position + 8
        if start + length > len(payload):
            raise _bad(f"{length} bytes in WAVE chunk {kind!r}", str(len(payload) - start))
        if kind == b"fmt ":
            if length < 16:
                raise _bad("16 bytes of WAVE format or more", str(length))
            code, channels, rate, per_second, block, bits = struct.unpack_from("<HHIIHH", payload, start)
            if (
                code not in (_WAV_PCM, _WAV_FLOAT, _WAV_EXTENSIBLE)
                or bits not in (8, 16, 24, 32, 64)
                or not channels
                or block != channels * bits // 8
                or per_second != rate * block
            ):
                raise _bad("linear PCM whose rates agree", f"format {code}, {bits} bits, {block} bytes a sample")
            shape = (rate, channels, block)
        elif kind == b"data":
            if shape is None:
                raise _bad("the WAVE format before its data", "none")
            rate, channels, block = shape
            if not length or length % block:
                raise _bad(f"whole samples of {block} bytes", f"{length} bytes")
            return rate, channels, length // block
        position = start + length + length % 2
    raise _too_many()


def _flac_shape(payload: bytes) -> tuple[int, int, int]:
    if payload[:4] != b"fLaC" or len(payload) < 42:
        raise _bad("a FLAC file", repr(payload[:4]))
    if payload[4] & 0x7F or int.from_bytes(payload[5:8], "big") != 34:
        raise _bad("34 bytes of STREAMINFO first", f"block type {payload[4] & 0x7F}")
    packed = int.from_bytes(payload[18:26], "big")  # rate 20 bits, channels - 1: 3, bits - 1: 5, samples: 36
    frames = packed & ((1 << 36) - 1)
    bits = (packed >> 36 & 31) + 1
    if not frames or bits < 4:
        raise _bad("the number of samples in STREAMINFO, of 4 bits or more", f"{frames} of {bits} bits")
    position, last = 42, payload[4] & 0x80
    for _ in range(MAX_PARTS):
        if last:
            break
        if position + 4 > len(payload):
            raise _bad("FLAC metadata within the file", "its end before that")
        last = payload[position] & 0x80
        position += 4 + int.from_bytes(payload[position + 1 : position + 4], "big")
    if not last:
        raise _too_many()
    if int.from_bytes(payload[position : position + 2], "big") >> 2 != 0b11111111111110:
        raise _bad("a FLAC frame after the metadata", repr(payload[position : position + 2]))
    return packed >> 44, (packed >> 41 & 7) + 1, frames
