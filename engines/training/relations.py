"""What a stock's neighbours tell at a close: the graph of a set's stocks, and vectors of its rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import polars as pl
import torch

from engines.graph import Graph, build
from engines.instruments import Listing
from engines.training.models.graph import edges_of, pretrain

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

CASHTAG = r"\$\s?([a-z]+(?:[-.][a-z]+)?)\b"
CLIP = 6.0
TOGETHER = 64  # moments that are embedded at once


def mentioned(posts: pl.DataFrame, before: int) -> list[list[str]]:
    """Return which tickers each post names that came before the day ``before`` (days since 1970), or is filed under.

    ``posts`` has ticker, created_at, text and date, the day of the close that it belongs to; the same text of the same
    moment, filed under several tickers, is one post.
    """
    named = pl.col("text").str.to_lowercase().str.extract_all(CASHTAG).list.eval(pl.element().str.strip_chars("$ "))
    told = posts.filter(pl.col("date").cast(pl.Int32) < before).group_by("created_at", "text", maintain_order=True)
    table = told.agg(pl.col("ticker").unique(maintain_order=True)).with_columns(
        named=named.list.eval(pl.element().str.to_uppercase())
    )
    return [list({*filed, *said}) for filed, said in zip(table["ticker"], table["named"], strict=True)]


def related(sectors: Mapping[str, str], posts: pl.DataFrame, before: int) -> Graph:
    """Return the graph of the tickers of ``sectors``, by sector ("" none) and by mention in posts before a day.

    ``posts`` and ``before`` are as in `mentioned`.
    """
    listings = {
        ticker: Listing(instrument=ticker, symbol=ticker, venue="XXXX", sector=sector)
        for ticker, sector in sectors.items()
    }
    return build(listings, mentioned(posts, before))


def graph_vectors(
    ticker: Sequence[str],
    day: Ints,
    features: Floats,
    graph: Graph,
    before: int,
    *,
    dim: int,
    steps: int,
    seed: int,
    step: Callable[[], None],
) -> Singles:
    """Return what the graph tells of each row, float32 (row, 2 dim): its node's embedding, and its edges' mean one.

    Parameters
    ----------
    ticker, day
        Which node a row is of, and its close, in days since 1970, (row,) each.
    features
        What is known of a row at its close, (row, F); NaN is not known, and stands for the mean.
    graph
        The nodes, and edges known before the day ``before``.
    before
        Features are scaled, and the encoder learns to tell hidden nodes from their neighbours, on the closes before
        this day; no label is read. A row from then on has seen nothing later than its own close.
    dim, steps, seed
        Of the encoder and of how it learns; ``step`` is called after each of the steps.

    Raises
    ------
    ValueError
        A ticker is no node of the graph, or no row is before the day.
    """
    if missing := sorted(set(ticker) - set(graph.nodes)):
        raise ValueError(f"expected a node for each ticker, found none of {', '.join(missing)}: add them to the graph")
    known = day < before  # (row,)
    if not known.any():
        raise ValueError(f"expected rows before day {before} to learn from, found none: give earlier ones")
    number = {name: i for i, name in enumerate(graph.nodes)}
    node = np.array([number[name] for name in ticker])  # (row,)
    days, moment = np.unique(day, return_inverse=True)  # (moment,), (row,)
    told = np.ma.masked_invalid(features[known])
    mean, scale = told.mean(0).filled(0.0), told.std(0).filled(0.0)  # (F,) each; 0 where nothing is known
    scaled = np.clip((features - mean) / np.where(scale > 0, scale, 1.0), -CLIP, CLIP)  # (row, F)
    x = torch.zeros(len(days), len(graph.nodes), features.shape[1])  # (moment, node, F)
    x[moment, node] = torch.from_numpy(np.nan_to_num(scaled)).float()
    edges = edges_of(graph)
    model = pretrain(x[: int((days < before).sum())], edges, dim, steps, seed, step)
    arriving = torch.bincount(edges.dst, minlength=len(graph.nodes)).clamp_min(1)[:, None]  # (node, 1)
    found = torch.zeros(len(days), len(graph.nodes), 2 * dim)  # (moment, node, 2 dim)
    with torch.no_grad():
        for at in range(0, len(days), TOGETHER):
            h, e = model(x[at : at + TOGETHER], edges)  # (batch, node, dim), (batch, edge, dim)
            around = torch.zeros_like(h).index_add(1, edges.dst, e) / arriving  # (batch, node, dim)
            found[at : at + TOGETHER] = torch.cat([h, around], 2)  # (batch, node, 2 dim)
    vectors: Singles = found[moment, node].numpy()  # (row, 2 dim)
    return vectors
