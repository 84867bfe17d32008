"""What the typologies of words find in texts where next to nothing is to be found, and what reading one costs.

`python -m benchmarks.words --data ../shared/data`. Sentences of ordinary earnings calls (maec, as if an adviser spoke
them), posts on large stocks (stocknet), headlines (twitter_fin_news) and sentences of news (financial_phrasebank): a
text that *rings* is nearly always a false alarm, but for headlines that do tell of enforcement. *Void* counts texts in
which a phrase was found and nothing of it counted. Nothing of the lexicon was chosen on calls and posts; the headlines
were looked at once. CPU is of this process, a text after the other.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl

from benchmarks.harness import close, table
from engines.lexicon import Lexicon, load

EXAMPLES = 3


def texts(data: Path) -> dict[str, tuple[str, list[str]]]:
    """Return by set the typology that hears it and its texts, each once."""
    calls = pl.read_parquet(data / "maec" / "calls_text.parquet")["text"].str.split("\n").explode()
    read: dict[str, tuple[str, Callable[[], pl.Series]]] = {
        "calls": ("mis_selling", lambda: calls),
        "posts": ("pump_coordination", lambda: pl.read_parquet(data / "stocknet" / "tweets.parquet")["text"]),
        "headlines": ("enforcement_language", lambda: pl.read_csv(data / "twitter_fin_news" / "train.csv")["text"]),
        "news": (
            "enforcement_language",
            lambda: pl.read_csv(data / "financial_phrasebank" / "sentences.csv")["sentence"],
        ),
    }
    return {
        name: (head, column().unique(maintain_order=True).drop_nulls().to_list())
        for name, (head, column) in read.items()
    }


def told(lexicon: Lexicon, said: list[str]) -> tuple[list[str], int, float]:
    """Return the texts that ring, how many had void phrases only, and the CPU of a text, µs."""
    began = time.process_time()
    readings = [lexicon.read(text) for text in said]
    cost_us = (time.process_time() - began) / len(said) * 1e6
    ringing = [reading.text for reading in readings if reading.strength() >= 1.0]
    return ringing, sum(bool(reading.hits) and not reading.strength() for reading in readings), cost_us


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with maec, stocknet and the others")
    options = parser.parse_args()
    rows = []
    figures: dict[str, float] = {}
    for name, (head, said) in texts(options.data).items():
        ringing, void, cost_us = told(load(head), said)
        rows.append(
            [name, head, f"{len(said):,}", len(ringing), f"{len(ringing) / len(said):.3%}", void, f"{cost_us:.1f}"]
        )
        figures |= {f"{name}: ring": len(ringing), f"{name}: µs a text": round(cost_us, 1)}
        for text in ringing[:EXAMPLES]:
            print(f"{name}: {text[:160]}")
    table("Texts that ring", ["texts", "typology", "", "ring", "share", "void", "µs a text"], rows)
    close(**figures)


if __name__ == "__main__":
    main()
