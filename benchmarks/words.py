"""What the typologies of words find in texts where next to nothing is to be found, and what reading one costs.

`python -m benchmarks.words --data ../shared/data`. Sentences of ordinary earnings calls (maec, as if an adviser spoke
them), posts on large stocks (stocknet), headlines (twitter_fin_news) and sentences of news (financial_phrasebank): a
text that *rings* is nearly always a false alarm, but for headlines that do tell of enforcement. *Void* counts texts in
which a phrase was found and nothing of it counted. Nothing of the lexicon was chosen on calls and posts; the headlines
were looked at once. CPU is of this process, a text after the other.

Then what is injected into the words of simulated days (docs/simulator.md; `--seeds`, a day each), counted as in
`benchmarks.misconduct`. Hidden is a disguise of 1: all of it is told in paraphrase.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from benchmarks.harness import close, table
from benchmarks.misconduct import tally
from benchmarks.misconduct_days import LEVELS, Played, first, said_in
from engines.instruments import DEFAULT_SYMBOLS, SymbolMaster
from engines.lexicon import Lexicon, load
from engines.simulator import talk
from engines.simulator.day import Config, simulate
from engines.simulator.flow import SECOND_NS
from monitor.converters.messages import record_message
from monitor.simulation import companies_of

EXAMPLES = 3
HIDDEN = {"hidden": (1.0, 1.0)}


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


def talked(seed: int, strength: float, disguise: float) -> Played:
    """Return what rings on the words of a simulated day."""
    companies = companies_of(SymbolMaster.load(DEFAULT_SYMBOLS))
    config = Config(seed=seed, ticks_a_second=0.5, strength=strength, disguise=disguise, typologies=())
    (day,) = simulate(config, companies)
    open_ns = int(datetime.combine(day.date, config.open_utc, UTC).timestamp()) * SECOND_NS
    made = talk.day(config, companies, day.articles, day.date, 0, open_ns, [talk.CLIENT_CALL, *talk.PLAN])
    written = (record_message("news", news) for some in (day, made) for one in some.articles for news in one.news())
    said = (record_message("transcripts", part) for some in (day, made) for part in some.transcripts)
    messages = sorted([*written, *said], key=lambda message: message.ts_available)
    return Played(
        labels=made.labels,
        alarms=first(said_in(messages)),
        critical=[],
        instruments=[company.instrument for company in companies],
        from_ns=open_ns,
        to_ns=messages[-1].ts_available,
    )


def injected(seeds: list[int]) -> None:
    """Print on how many events of misconduct, and of the look-alike of each, its typology rings."""
    days = {
        level: tally((talked(seed, *size) for seed in seeds), lambda day: day.alarms)
        for level, size in (LEVELS | HIDDEN).items()
    }
    harmful = [name for name in talk.PLAN if name not in talk.BENIGN]
    twins = dict(zip(talk.PLAN, 2 * harmful, strict=True))
    rows = [
        [name, *(f"{one.rang[name, twin]}/{one.events[name]}" for one in days.values())] for name, twin in twins.items()
    ]
    false = [f"{sum(one.false.values()) / one.subject_days:.3f}" for one in days.values()]
    table("Simulated events on which it rings", ["typology", *days], [*rows, ["false an instrument-day", *false]])


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with maec, stocknet and the others")
    parser.add_argument("--seeds", type=int, nargs="+", default=[6001, 6002, 6003, 6004])
    options = parser.parse_args()
    injected(options.seeds)
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
