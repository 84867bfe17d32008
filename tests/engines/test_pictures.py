"""What a PNG or JPEG shows, and what is refused before or while it is decoded."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Literal

import numpy as np
import pytest
from PIL import Image

from engines.charts import png
from engines.pictures import MAX_SCANS, Bytes, PictureError, decode
from tests.messages import png_chunk

GREYS: Bytes = np.random.default_rng(0).integers(0, 256, (19, 33), dtype=np.uint8)
#: A JPEG of 8 x 4 pixels in red, green, blue and white, as an encoder wrote it at quality 60, and its greys.
GOLDEN_JPEG = (
    "ffd8ffe000104a46494600010100000100010000ffdb0043000d090a0b0a080d0b0a0b0e0e0d0f13201513121213271c1e17202e2931302e"
    "292d2c333a4a3e333646372c2d405741464c4e525352323e5a615a50604a51524fffdb0043010e0e0e131113261515264f352d354f4f4f4f"
    "4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4fffc00011080004000803"
    "012200021101031101ffc4001500010100000000000000000000000000000003ffc400221000010203090000000000000000000000001113"
    "010412020305071415223151ffc4001501010100000000000000000000000000000304ffc4001f1100010303050000000000000000000000"
    "010002030421410511122261ffda000c03010002110311003f00b65ec8cb629b86bae9d69ba3946ca2d4bd27900014ea10c6da8706b4016c"
    "7811706cbde41b939372bfffd9"
)
GOLDEN_GREYS = [
    [70, 77, 78, 94, 98, 113, 114, 121],
    [92, 88, 75, 76, 123, 124, 111, 107],
    [36, 38, 44, 68, 228, 252, 255, 255],
    [63, 59, 54, 55, 255, 255, 255, 252],
]
COLOURS = np.array([[[200, 30, 20], [10, 180, 40]], [[20, 30, 220], [255, 255, 255]]], np.uint8)


def saved(picture: Image.Image, kind: Literal["png", "jpeg"], **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def test_a_grey_png_is_decoded_to_its_own_greys() -> None:
    found = decode(png(GREYS), "image/png")
    assert found.dtype == np.uint8
    assert np.array_equal(found, GREYS)
    assert np.array_equal(decode(saved(Image.fromarray(GREYS), "png"), "image/png"), GREYS)


def test_colours_are_weighed_as_television_weighs_them() -> None:
    red, green, blue = (np.array([[colour]], np.uint8) for colour in ((255, 0, 0), (0, 255, 0), (0, 0, 255)))
    found = [int(decode(saved(Image.fromarray(c), "png"), "image/png")[0, 0]) for c in (red, green, blue)]
    assert found == [76, 150, 29]  # BT.601: 0.299, 0.587 and 0.114 of 255
    palette = Image.fromarray(COLOURS).quantize(4)
    assert np.abs(decode(saved(palette, "png"), "image/png") - np.array([[80.0, 113.3], [48.7, 255]])).max() <= 1


def test_what_is_transparent_lies_on_white_paper() -> None:
    shown = np.array([[[0, 0, 0, 0], [0, 0, 0, 255], [0, 0, 0, 51]]], np.uint8)
    assert decode(saved(Image.fromarray(shown), "png"), "image/png").tolist() == [[255, 0, 204]]
    palette = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    palette.putpalette([10, 10, 10, 90, 90, 90])
    assert decode(saved(palette, "png", transparency=0), "image/png").tolist() == [[255, 90]]


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_in_colours_is_as_grey_as_the_same_in_grey(progressive: bool) -> None:
    smooth = np.add.outer(np.arange(40), np.arange(0, 120, 2)).astype(np.uint8)  # (40, 60)
    grey = decode(saved(Image.fromarray(smooth), "jpeg", quality=95), "image/jpeg")
    assert grey.shape == smooth.shape
    assert np.abs(grey.astype(int) - smooth).max() <= 3
    coloured = Image.merge("RGB", [Image.fromarray(smooth)] * 3)
    for subsampling in (0, 2):  # however coarse its colours are kept
        file = saved(coloured, "jpeg", quality=95, progressive=progressive, subsampling=subsampling)
        assert np.array_equal(decode(file, "image/jpeg"), grey)


def test_a_jpeg_decodes_to_greys_that_do_not_change() -> None:
    """A change of these would change what a replay says: they are the codec's, not ours to pick."""
    found = decode(bytes.fromhex(GOLDEN_JPEG), "image/jpeg")
    assert found.tolist() == GOLDEN_GREYS


def test_damaged_and_cut_off_files_are_refused_or_show_the_same() -> None:
    whole = saved(Image.fromarray(np.repeat(GREYS[:6, :5, None], 3, 2)), "png")
    good = decode(whole, "image/png")
    taken = 0
    for i in range(len(whole)):
        turned = bytearray(whole)
        turned[i] ^= 1 << i % 8
        for damaged in (whole[:i], bytes(turned)):
            try:
                found = decode(damaged, "image/png")
            except PictureError:
                continue
            taken += 1
            assert np.array_equal(found, good)
    assert taken < 20  # the last chunk's own checksum and what is after the pixels


def test_a_jpeg_that_is_cut_off_is_refused() -> None:
    whole = saved(Image.fromarray(GREYS), "jpeg")
    for length in (0, 2, 100, len(whole) // 2, len(whole) - 40):
        with pytest.raises(PictureError, match="expected a whole JPEG file, found one that cannot be read"):
            decode(whole[:length], "image/jpeg")


@pytest.mark.parametrize(
    ("picture", "options", "found"),
    [
        (Image.new("L", (4097, 1)), {}, "a picture of up to 4096 pixels in width and height, found 4097 x 1"),
        (Image.fromarray(np.full((2, 2), 40_000, np.uint16)), {}, "a PNG of up to 8 bits a sample, found 16"),
        (
            Image.new("L", (3, 3)),
            {"save_all": True, "append_images": [Image.new("L", (3, 3), 9)]},
            "a picture that stands still, found 2 frames",
        ),
    ],
    ids=["wide", "16 bits", "animated"],
)
def test_a_png_that_is_no_plain_picture_is_refused(
    picture: Image.Image, options: dict[str, object], found: str
) -> None:
    with pytest.raises(PictureError, match=f"{found}; send the chart as a plain PNG or JPEG"):
        decode(saved(picture, "png", **options), "image/png")


def test_a_picture_that_would_unfold_beyond_measure_is_refused_by_its_header() -> None:
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 6, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b""))
    bomb = png(GREYS)[:8] + b"".join(png_chunk(kind, data) for kind, data in parts)
    with pytest.raises(PictureError, match="found 60000 x 60000"):
        decode(bomb, "image/png")


def test_a_jpeg_for_print_and_one_of_endless_scans_are_refused() -> None:
    with pytest.raises(PictureError, match="expected a JPEG in grey or colours of a screen, found CMYK"):
        decode(saved(Image.new("CMYK", (8, 8)), "jpeg"), "image/jpeg")
    whole = saved(Image.fromarray(GREYS), "jpeg", progressive=True)
    scan = whole.rindex(b"\xff\xda")
    endless = whole[:scan] + whole[scan:-2] * MAX_SCANS + whole[-2:]
    with pytest.raises(PictureError, match=f"a JPEG of up to {MAX_SCANS} scans, found {MAX_SCANS + 5}"):
        decode(endless, "image/jpeg")


def test_one_format_is_not_taken_for_the_other() -> None:
    with pytest.raises(PictureError, match="expected a whole JPEG file"):
        decode(png(GREYS), "image/jpeg")
    with pytest.raises(PictureError, match="expected a whole PNG file"):
        decode(saved(Image.fromarray(GREYS), "jpeg"), "image/png")
