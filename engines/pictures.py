"""Pictures: what a PNG or JPEG shows, as greys."""

from __future__ import annotations

from io import BytesIO
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from schemas.records import MAX_CHART_PX

Bytes = npt.NDArray[np.uint8]

#: Scans that a JPEG may have; encoders write 1 to 20. Each is worked through for all pixels, however short it is.
MAX_SCANS = 100
_SCAN = b"\xff\xda"  # its marker, which compressed data do not hold


class PictureError(ValueError):
    """Bytes are no picture that can be decoded; the message says what was expected and what to do."""


def decode(payload: bytes, media_type: Literal["image/png", "image/jpeg"]) -> Bytes:
    """Return the greys of a picture.

    Colours are weighed by ITU-R BT.601, what is transparent lies on white paper.

    Returns
    -------
    Shape (height, width), uint8, rows from the top.

    Raises
    ------
    PictureError
        It is no such file, is damaged or cut off (of a JPEG's pixels only a missing end can be told), is wider or
        higher than `MAX_CHART_PX`, has several frames, 16 bits a sample or inks for print, or a JPEG has more than
        `MAX_SCANS` scans.

    Example
    -------
    >>> from engines.charts import png
    >>> decode(png(np.array([[0, 255]], np.uint8)), "image/png")
    array([[  0, 255]], dtype=uint8)
    """
    try:
        # The same bytes are the same greys everywhere: inflating is exact, Pillow weighs and mixes colours in integers,
        # and libjpeg-turbo's default transform (islow) is in integers too, equal on all CPUs by its own tests. A JPEG's
        # grey is the first of its components as it is, so that nothing depends on how its colours are scaled up.
        image = _png(payload) if media_type == "image/png" else _jpeg(payload)
        image.load()
    except PictureError:
        raise
    except Exception as error:  # of damaged files; the decoders' errors have no other base
        kind = media_type.removeprefix("image/").upper()
        raise _bad(f"a whole {kind} file", f"one that cannot be read ({error})") from error
    if image.has_transparency_data:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    return np.asarray(image.convert("L"))


def _png(payload: bytes) -> Image.Image:
    image = PngImageFile(BytesIO(payload))
    _check_size(image)
    if image.is_animated:
        raise _bad("a picture that stands still", f"{image.n_frames} frames")
    if payload[24] > 8:  # the bit depth: ISO/IEC 15948, 11.2.1
        raise _bad("a PNG of up to 8 bits a sample", f"{payload[24]}")
    image.verify()  # checksums, which decoding leaves out; it reads the file to its end
    return PngImageFile(BytesIO(payload))


def _jpeg(payload: bytes) -> Image.Image:
    image = JpegImageFile(BytesIO(payload))
    _check_size(image)
    if image.mode not in ("L", "RGB"):
        raise _bad("a JPEG in grey or colours of a screen", image.mode)
    if (scans := payload.count(_SCAN)) > MAX_SCANS:
        raise _bad(f"a JPEG of up to {MAX_SCANS} scans", str(scans))
    image.draft("L", image.size)
    return image


def _check_size(image: Image.Image) -> None:
    if max(image.size) > MAX_CHART_PX:
        found = f"{image.width} x {image.height}"
        raise _bad(f"a picture of up to {MAX_CHART_PX} pixels in width and height", found)


def _bad(expected: str, found: str) -> PictureError:
    return PictureError(f"expected {expected}, found {found}; send the chart as a plain PNG or JPEG")
