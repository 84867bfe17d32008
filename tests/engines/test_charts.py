"""Charts: what is drawn where, what of a picture is looked at, and the PNG that it is written as."""

from __future__ import annotations

import itertools
import zlib

import numpy as np
import pytest

from engines import charts
from engines.charts import PLAIN, Style, draw, see

MINUTES = Style("candles", 1, 64, 14, (0, 110, 170, 255, 110, 0))


def test_a_rising_candle_is_drawn_bright_and_a_falling_one_dim() -> None:
    bars = np.full((1, 64, 5), np.nan)
    bars[0, 62:] = [[1.0, 2.0, 1.0, 2.0, 5.0], [2.0, 2.0, 1.0, 1.0, 10.0]]
    (picture,) = draw(bars, MINUTES)
    assert picture.shape == (64, 64)
    assert not picture[:, :62].any()
    assert set(picture[:49, 62]) == {255}
    assert set(picture[:49, 63]) == {170}
    assert (picture[50:, 63] == 110).sum() == 13  # the larger volume fills its rows
    assert (picture[50:, 62] == 110).sum() == 6  # half of it, rounded to even


def test_a_bar_has_its_open_on_the_left_and_its_close_on_the_right() -> None:
    bars = np.array([[[3.0, 5.0, 1.0, 2.0, 1.0]]])
    (picture,) = draw(bars, Style("bars", 3, 10, 4, (0, 9, 9, 9, 7, 0)))
    assert picture.tolist() == [
        [0, 9, 0],
        [0, 9, 0],
        [9, 9, 0],  # 3 is halfway between 5 and 1
        [0, 9, 9],
        [0, 9, 0],
        [0, 0, 0],
        [0, 0, 0],
        [0, 7, 0],
        [0, 7, 0],
        [0, 7, 0],
    ]


def test_the_average_is_one_line_however_steep_and_prices_make_room_for_it() -> None:
    bars = np.tile([5.0, 5.0, 5.0, 5.0, 0.0], (1, 4, 1))
    average = np.array([[np.nan, 1.0, 9.0, 9.0]])
    (picture,) = draw(bars, Style("bars", 3, 18, 0, (0, 1, 1, 1, 1, 2)), average)
    line = picture == 2
    assert not line[:, :3].any()
    assert np.flatnonzero(line[:, 4]).tolist() == [16]  # the lowest row of prices
    assert np.flatnonzero(line[:, 7]).tolist()[0] == 0
    seen = [np.flatnonzero(column) for column in line.T[4:8]]
    gaps = [int(after.max()) - int(before.min()) for before, after in itertools.pairwise(seen)]
    assert all(gap in (-1, 0) for gap in gaps)  # each column goes on where the one before ends


def test_charts_drawn_together_are_those_drawn_alone_and_level_and_currency_do_not_show() -> None:
    rng = np.random.default_rng(0)
    close = np.exp(rng.normal(0, 0.02, (5, 21)).cumsum(1))
    bars = np.stack([close[:, :-1], close.max(1)[:, None] + 0 * close[:, 1:], close[:, 1:] * 0.97, close[:, 1:]], 2)
    bars = np.concatenate([bars, rng.random((5, 20, 1))], 2)
    together = draw(bars, PLAIN, bars[:, :, 3])
    for one, picture in zip(bars, together, strict=True):
        assert np.array_equal(draw(one[None], PLAIN, one[None, :, 3])[0], picture)
    assert np.array_equal(draw(bars * 128, PLAIN, bars[:, :, 3] * 128), together)
    assert together.shape == (5, charts.HEIGHT_PX, charts.WIDTH_PX)


def test_nothing_is_drawn_of_no_bars() -> None:
    assert not draw(np.full((1, 20, 5), np.nan), PLAIN, np.full((1, 20), np.nan)).any()


def test_what_is_seen_of_a_chart_has_neither_its_size_nor_its_colours() -> None:
    picture = draw(np.random.default_rng(1).random((1, 20, 5)) + np.array([1, 3, 0, 1, 0]), PLAIN)
    assert np.array_equal(see(picture), picture)
    paper = (230 - 0.8 * picture.astype(float)).astype(np.uint8)  # dark ink on light paper
    assert np.array_equal(see(paper), picture)
    larger = np.kron(paper[0], np.ones((3, 2), np.uint8))[None]
    assert np.array_equal(see(larger), picture)
    assert not see(np.full((1, 30, 40), 77, np.uint8)).any()


@pytest.mark.parametrize(("before", "after"), [(90, 60), (60, 60), (41, 60)])
def test_each_pixel_is_shared_out_whole(before: int, after: int) -> None:
    shared = charts.shares(before, after)
    assert shared.sum(1) == pytest.approx(np.ones(after), abs=1e-5)
    assert shared.sum(0) == pytest.approx(np.full(before, after / before), abs=1e-4)


def test_a_png_holds_the_picture() -> None:
    picture = np.arange(12, dtype=np.uint8).reshape(3, 4)
    data = charts.png(picture)
    start = data.index(b"IDAT") + 4
    length = int.from_bytes(data[start - 8 : start - 4], "big")
    rows = zlib.decompress(data[start : start + length])
    assert list(rows) == [0, 0, 1, 2, 3, 0, 4, 5, 6, 7, 0, 8, 9, 10, 11]  # each row behind its filter byte
