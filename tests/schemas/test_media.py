"""Sound and pictures of so many parts that to read them would take longer than to refuse them."""

from __future__ import annotations

import struct
from functools import partial

import pytest

from schemas import media
from schemas.errors import BadMessage
from schemas.records import AudioSegment, ChartSnapshot
from tests.messages import png_chunk

MANY = media.MAX_PARTS + 1


def chart(media_type: str, payload: bytes) -> ChartSnapshot:
    return ChartSnapshot(
        ts_event=1, ts_available=1, instrument="A.X", media_type=media_type, width=1, height=1, payload=payload
    )  # type: ignore[arg-type]


def audio(media_type: str, payload: bytes) -> AudioSegment:
    return AudioSegment(
        ts_event=1,
        ts_available=1,
        instrument="A.X",
        call_id="c",
        segment=0,
        media_type=media_type,  # type: ignore[arg-type]
        sample_rate_hz=8_000,
        payload=payload,
    )


HEAD = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)


@pytest.mark.parametrize(
    ("media_type", "payload"),
    [
        ("image/png", b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", HEAD) + png_chunk(b"tEXt", b"") * MANY),
        ("image/jpeg", b"\xff\xd8\xff" + b"\xff" * MANY + b"\xff\xd9"),
        ("image/jpeg", b"\xff\xd8" + b"\xff\xe1\x00\x02" * MANY + b"\xff\xd9"),
        ("audio/wav", b"RIFF" + struct.pack("<I", 4 + 8 * MANY) + b"WAVE" + b"junk\0\0\0\0" * MANY),
        ("audio/flac", b"fLaC\0\0\0\x22" + bytes(13) + b"\xf0\0\0\0\1" + bytes(16) + b"\1\0\0\0" * MANY),
    ],
)
def test_a_file_of_more_parts_than_any_encoder_writes_is_refused(media_type: str, payload: bytes) -> None:
    check = partial(media.check_chart, chart(media_type, payload))
    if media_type.startswith("audio"):
        check = partial(media.check_audio, audio(media_type, payload))
    with pytest.raises(BadMessage, match="expected up to 16,384 parts of a file, found more"):
        check()
