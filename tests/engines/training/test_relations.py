"""Vectors of the graph: what neighbours tell, and nothing that comes later."""

from __future__ import annotations

from datetime import UTC, date, datetime

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch: install the extra `train`")

import polars as pl
import torch
from sklearn.linear_model import LogisticRegression

from engines.graph import RELATIONS, Graph
from engines.training.relations import Floats, Ints, Singles, graph_vectors, mentioned, related

STOCKS, DAYS, BEFORE = 20, 120, 80
TICKERS = [f"S{stock}" for stock in range(STOCKS)]
NO_POSTS = pl.DataFrame(schema={"ticker": pl.String, "created_at": pl.Datetime, "text": pl.String, "date": pl.Date})


def market() -> tuple[list[str], Ints, Floats, Ints]:
    """Rows by day: a number each, and whether the sector's mean is above 0, which one's own hardly tells."""
    rng = np.random.default_rng(0)
    common = np.repeat(rng.normal(size=(DAYS, 4)), 5, 1)
    own = common + 2 * rng.normal(size=(DAYS, STOCKS))
    label = own.reshape(DAYS, 4, 5).mean(2).repeat(5, 1) > 0
    return TICKERS * DAYS, np.repeat(np.arange(DAYS), STOCKS), own.reshape(-1, 1), label.ravel().astype(np.int64)


def sectors() -> Graph:
    return related({ticker: str(stock // 5) for stock, ticker in enumerate(TICKERS)}, NO_POSTS, 0)


def vectors(features: Floats, graph: Graph, steps: int = 300) -> Singles:
    torch.set_num_threads(1)
    ticker, day, _, _ = market()
    return graph_vectors(ticker, day, features, graph, BEFORE, dim=8, steps=steps, seed=0, step=lambda: None)


def test_neighbours_tell_what_a_row_itself_does_not() -> None:
    _, day, own, label = market()
    told = vectors(own, sectors())
    assert told.dtype == np.float32
    assert told.shape == (STOCKS * DAYS, 16)
    known = day < BEFORE

    def right(x: Floats) -> float:
        return float(LogisticRegression().fit(x[known], label[known]).score(x[~known], label[~known]))

    assert right(np.hstack([own, told])) > right(own) + 0.15


def test_a_later_close_changes_no_earlier_row_and_a_gap_is_the_mean() -> None:
    _, day, own, _ = market()
    told = vectors(own, sectors(), 5)
    later = own.copy()
    later[day >= 100] += 3.0
    changed = vectors(later, sectors(), 5)
    assert (changed[day < 100] == told[day < 100]).all()
    assert (changed[day >= 100] != told[day >= 100]).any(1).all()
    gap, mean = own.copy(), own.copy()
    gap[day == 110], mean[day == 110] = np.nan, own[day < BEFORE].mean()
    assert vectors(gap, sectors(), 5) == pytest.approx(vectors(mean, sectors(), 5), abs=1e-5)


def test_a_feature_that_is_nowhere_known_tells_nothing() -> None:
    own = market()[2]
    nothing, zero = np.full_like(own, np.nan), np.zeros_like(own)
    told = vectors(np.hstack([own, nothing]), sectors(), 5)
    assert np.isfinite(told).all()
    assert (told == vectors(np.hstack([own, zero]), sectors(), 5)).all()


def post(ticker: str, text: str, day: int) -> tuple[str, datetime, str, date]:
    return ticker, datetime(1970, 1, 1 + day, 15, tzinfo=UTC), text, date(1970, 1, 1 + day)


def test_posts_relate_what_they_name_before_the_day() -> None:
    posts = pl.DataFrame(
        [
            post("AA", "$ aa beats $ bb", 1),
            post("BB", "$ aa beats $ bb", 1),  # the same post, filed twice
            post("AA", "of $cc.a and others", 2),
            post("BB", "$ bb and $ dd", 3),  # too late
        ],
        schema=NO_POSTS.schema | {"created_at": pl.Datetime(time_zone="UTC")},
        orient="row",
    )
    assert sorted(map(sorted, mentioned(posts, 3))) == [["AA", "BB"], ["AA", "CC.A"]]
    graph = related({"AA": "", "BB": "", "DD": ""}, posts, 3)
    edges = [
        (graph.nodes[a], graph.nodes[b], RELATIONS[r])
        for a, b, r in zip(graph.src, graph.dst, graph.relation, strict=True)
    ]
    assert edges == [("AA", "BB", "mention"), ("BB", "AA", "mention")]


def test_what_cannot_be_embedded_is_refused() -> None:
    day, graph = np.arange(2), related({"AA": ""}, NO_POSTS, 0)
    one = {"dim": 2, "steps": 1, "seed": 0, "step": lambda: None}
    with pytest.raises(ValueError, match="none of BB"):
        graph_vectors(["AA", "BB"], day, np.zeros((2, 1)), graph, 1, **one)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="before day 0"):
        graph_vectors(["AA", "AA"], day, np.zeros((2, 1)), graph, 0, **one)  # type: ignore[arg-type]
