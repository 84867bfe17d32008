"""Charts: bars drawn as small grey pictures, what of anybody's picture a network looks at, and a PNG writer.

The picture is that of Jiang, Kelly & Xiu, *(Re-)Imag(in)ing Price Trends*, Journal of Finance 2023: a bar is 3 pixels
wide (a tick to the left for the open, a line from high to low, a tick to the right for the close), a line is the moving
average, volume stands below. Prices fill the height, so that neither currency nor level shows.
"""

from __future__ import annotations

import struct
import zlib
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bytes = npt.NDArray[np.uint8]

BACKGROUND, WICK, FALLING, RISING, VOLUME, AVERAGE = range(6)  # what a pixel shows, and its place in a palette
LEVELS = 16  # greys among which a picture's background is the commonest


class Style(NamedTuple):
    """How charts are drawn; ``palette`` is the grey of each of `BACKGROUND` … `AVERAGE`, volume is below prices."""

    kind: Literal["bars", "candles"]
    bar_px: int
    height_px: int
    volume_px: int
    palette: tuple[int, int, int, int, int, int]


#: What networks are trained on: 20 bars are 60 pixels wide.
PLAIN = Style("bars", 3, 64, 12, (0, 255, 255, 255, 255, 255))
BARS = 20
NUMBERS = 6  # that are drawn of a bar: open, high, low, close, the average, volume
HEIGHT_PX, WIDTH_PX = PLAIN.height_px, BARS * PLAIN.bar_px


def draw(bars: Floats, style: Style, average: Floats | None = None) -> Bytes:
    """Draw charts, all of the same style.

    Parameters
    ----------
    bars
        Shape (chart, time, 5), oldest first: open, high, low, close in currency, volume in units. Where a bar is NaN
        nothing is drawn.
    style
        Kind, size and inks.
    average
        Shape (chart, time), in currency: a line over the prices, NaN where it is not known; None for no line.

    Returns
    -------
    Shape (chart, style.height_px, time * style.bar_px), uint8, rows from the top.

    Example
    -------
    >>> bars = np.array([[[1.0, 2.0, 1.0, 2.0, 4.0], [2.0, 2.0, 1.0, 1.0, 9.0]]])
    >>> draw(bars, Style("candles", 1, 6, 2, (0, 1, 2, 3, 4, 5)))[0]
    array([[3, 2],
           [3, 2],
           [3, 2],
           [0, 0],
           [0, 0],
           [0, 4]], dtype=uint8)
    """
    count, time, _ = bars.shape
    px, height = style.bar_px, style.height_px
    open_, high, low, close, volume = np.moveaxis(bars, 2, 0)  # (chart, time) each
    ceiling, floor = (high, low) if average is None else (np.fmax(high, average), np.fmin(low, average))
    top, bottom = np.fmax.reduce(ceiling, 1, keepdims=True), np.fmin.reduce(floor, 1, keepdims=True)  # (chart, 1)
    last = height - style.volume_px - 2  # row of the lowest price; one row is left free below it
    scale = np.fmax(top - bottom, 1e-9)  # (chart, 1)

    def row_of(price: Floats) -> npt.NDArray[np.float32]:
        return np.asarray(np.round((top - price) / scale * last), np.float32)[:, :, None]  # (chart, time, 1)

    rows = np.arange(height, dtype=np.float32)  # (row,)
    at_open, at_close = row_of(open_), row_of(close)
    wick = (rows >= row_of(high)) & (rows <= row_of(low))  # (chart, time, row): NaN is neither
    most = np.fmax(np.fmax.reduce(volume, 1, keepdims=True), 1e-9)  # (chart, 1)
    traded = np.round(volume / most * (style.volume_px - 1))[:, :, None]  # (chart, time, 1)
    stands = (rows >= height - traded) & (traded > 0)  # (chart, time, row)

    shown = np.zeros((count, time, px, height), np.uint8)
    body = slice(0, px - 1 if px > 3 else px)  # columns; wider candles leave a gap
    middle = (px - 1) // 2
    if style.kind == "candles":
        _paint(shown[:, :, middle : middle + 1], wick, WICK)
        inside = (rows >= np.minimum(at_open, at_close)) & (rows <= np.maximum(at_open, at_close))
        rising = (close >= open_)[:, :, None]  # (chart, time, 1)
        _paint(shown[:, :, body], inside & rising, RISING)
        _paint(shown[:, :, body], inside & ~rising, FALLING)
        _paint(shown[:, :, body], stands, VOLUME)
    else:
        _paint(shown[:, :, : middle + 1], rows == at_open, WICK)
        _paint(shown[:, :, middle:], rows == at_close, WICK)
        _paint(shown[:, :, middle : middle + 1], wick, WICK)
        _paint(shown[:, :, middle : middle + 1], stands, VOLUME)
    if average is not None:
        level = row_of(average)[:, :, 0]  # (chart, time)
        share = (np.arange(px, dtype=np.float32) - middle) / px  # (column,): how far a column is to the next bar
        after, before = np.roll(level, -1, 1), np.roll(level, 1, 1)  # (chart, time)
        after[:, -1], before[:, 0] = level[:, -1], level[:, 0]
        slope = np.where(share >= 0, (after - level)[:, :, None], (level - before)[:, :, None])  # (chart, time, column)
        line = np.round(level[:, :, None] + share * np.nan_to_num(slope))  # (chart, time, column)
        flat = line.reshape(count, time * px)
        joined = np.concatenate([flat[:, :1], flat[:, :-1]], 1).reshape(line.shape)  # (chart, time, column)
        near, far = np.fmin(line, joined)[..., None], np.fmax(line, joined)[..., None]  # (chart, time, column, 1)
        # A steep line is as many pixels high as it climbs, less the one that the column before has.
        np.copyto(shown, AVERAGE, where=(rows == line[..., None]) | (rows > near) & (rows < far))
    pictures = shown.transpose(0, 3, 1, 2).reshape(count, height, time * px)  # (chart, height, width)
    return np.array(style.palette, np.uint8)[pictures]


def _paint(columns: Bytes, where: npt.NDArray[np.bool_], what: int) -> None:
    """Let ``columns`` (chart, time, column, row) show ``what`` ``where`` (chart, time, row) says."""
    np.copyto(columns, what, where=where[:, :, None])


def numbers(bars: Floats, average: Floats) -> npt.NDArray[np.float32]:
    """Return the numbers that `draw` draws of ``bars`` (chart, time, 5): prices, average, volume, (chart, time, 6).

    They are in [-1, 1]: what is lowest and highest in the picture. 0 stands for what is not drawn.
    """
    prices = np.concatenate([bars[:, :, :4], average[:, :, None]], 2)  # (chart, time, 5)
    top = np.fmax.reduce(prices, (1, 2), keepdims=True)  # (chart, 1, 1)
    bottom = np.fmin.reduce(prices, (1, 2), keepdims=True)  # (chart, 1, 1)
    volume = bars[:, :, 4:]  # (chart, time, 1)
    most = np.fmax.reduce(volume, 1, keepdims=True)  # (chart, 1, 1)
    share = np.concatenate([(prices - bottom) / np.fmax(top - bottom, 1e-9), volume / np.fmax(most, 1e-9)], 2)
    return np.asarray(np.nan_to_num(2 * share - 1), np.float32)


def see(pictures: Bytes) -> Bytes:
    """Return what a network looks at: ink alone, bright on black, in the size it knows.

    Parameters
    ----------
    pictures
        Shape (chart, height, width), uint8, of any size and colours. The commonest grey is taken for the background;
        how far a pixel is from it, lighter or darker, is ink. The most ink of a picture becomes 255.

    Returns
    -------
    Shape (chart, 64, 60), uint8.
    """
    count, height, width = pictures.shape
    flat = pictures.reshape(count, -1)  # (chart, pixel)
    level = flat // (256 // LEVELS)  # (chart, pixel)
    votes = np.bincount((level + np.arange(count)[:, None] * LEVELS).ravel(), minlength=count * LEVELS)
    common = level == votes.reshape(count, LEVELS).argmax(1)[:, None]  # (chart, pixel)
    background = np.where(common, flat, 0).sum(1) / np.maximum(common.sum(1), 1)  # (chart,)
    ink = np.abs(pictures.astype(np.float32) - background.astype(np.float32)[:, None, None])  # (chart, height, width)
    if (height, width) != (HEIGHT_PX, WIDTH_PX):
        ink = shares(height, HEIGHT_PX) @ ink @ shares(width, WIDTH_PX).T  # (chart, 64, 60)
    most = np.maximum(ink.max((1, 2), keepdims=True), 1e-3)  # (chart, 1, 1)
    return np.asarray(np.round(ink * (255 / most))).astype(np.uint8)


def shares(before: int, after: int) -> npt.NDArray[np.float32]:
    """Return how much of each of ``before`` pixels is in each of ``after`` that cover as much, (after, before)."""
    edges = np.linspace(0, before, after + 1)  # (after + 1,)
    pixels = np.arange(before)  # (before,)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)  # (after, before)
    return np.asarray(np.maximum(overlap, 0) * (after / before)).astype(np.float32)


def png(picture: Bytes) -> bytes:
    """Return an 8-bit grey PNG of ``picture``, shape (height, width), as ISO/IEC 15948 has it."""
    height, width = picture.shape
    rows = np.zeros((height, width + 1), dtype=np.uint8)  # a filter byte (0, none) before each row
    rows[:, 1:] = picture
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 9)), (b"IEND", b""))
    chunks = (struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)
