"""Chart snapshots: candles and volume of the last minutes as a small grey picture, and a PNG writer for it."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import numpy.typing as npt

WIDTH = 64
HEIGHT = 64
_VOLUME_ROWS = 14


def draw(bars: npt.NDArray[np.float64]) -> npt.NDArray[np.uint8]:
    """Draw bars as candles above their volume.

    Parameters
    ----------
    bars
        Shape (n, 5), n ≤ 64, oldest first: open, high, low, close in currency, volume in units. The last bar is the
        picture's right edge.

    Returns
    -------
    Shape (64, 64), uint8, rows from the top: 0 background, 110 wicks and volume, 170 a falling body, 255 a rising one.
    """
    picture = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    if not len(bars):
        return picture
    open_, high, low, close, volume = bars.T
    rows = HEIGHT - _VOLUME_ROWS - 1
    scale = max(float(high.max() - low.min()), 1e-9)
    top = float(high.max())
    prices = np.stack([open_, high, low, close])
    y_open, y_high, y_low, y_close = np.round((top - prices) / scale * (rows - 1)).astype(int)
    bar_rows = np.round(volume / max(float(volume.max()), 1e-9) * (_VOLUME_ROWS - 1)).astype(int)
    for i in range(len(bars)):
        x = WIDTH - len(bars) + i
        picture[y_high[i] : y_low[i] + 1, x] = 110
        body = slice(min(y_open[i], y_close[i]), max(y_open[i], y_close[i]) + 1)
        picture[body, x] = 255 if close[i] >= open_[i] else 170
        if bar_rows[i]:
            picture[HEIGHT - bar_rows[i] :, x] = 110
    return picture


def png(picture: npt.NDArray[np.uint8]) -> bytes:
    """Return an 8-bit grey PNG of ``picture``, shape (height, width), as ISO/IEC 15948 has it."""
    height, width = picture.shape
    rows = np.zeros((height, width + 1), dtype=np.uint8)  # a filter byte (0, none) before each row
    rows[:, 1:] = picture
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 9)), (b"IEND", b""))
    chunks = (struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)
