"""Talk: as much of it is injected as docs/simulator.md says, where and when the labels say."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from functools import cache

import pytest

from engines.instruments import SymbolMaster
from engines.labels import Label
from engines.simulator import sayings, talk
from engines.simulator.day import Article, Config, simulate
from engines.simulator.talk import BENIGN, CLIENT_CALL, PLAN, Talk
from engines.simulator.words import Company

MASTER = SymbolMaster.load()
COMPANIES = [Company(x.instrument, x.symbol, x.name) for x in MASTER.listings.values()]
CONFIG = Config(ticks_a_second=0.5, typologies=())
TODAY, OPEN_NS = date(2025, 3, 3), 1_741_012_200_000_000_000
SECOND_NS = 10**9


@cache
def background() -> list[Article]:
    (day,) = simulate(CONFIG, COMPANIES)
    return day.articles


def talk_of(config: Config = CONFIG, *typologies: str) -> Talk:
    return talk.day(config, COMPANIES, background(), TODAY, 0, OPEN_NS, typologies or tuple(PLAN))


def articles_of(made: Talk, label: Label) -> list[Article]:
    return [one for one in made.articles if one.document_id.startswith(f"{label.event_id}-")]


def usual(channel: str) -> float:
    counts = sorted(
        sum(one.channel == channel and company.instrument in one.instruments for one in background())
        for company in COMPANIES
    )
    return (counts[9] + counts[10]) / 2 / CONFIG.hours


def plain(template: str, text: str) -> bool:
    """Tell whether a text was made from a template: its longest piece between slots is there."""
    return max((piece for part in template.split("{") for piece in [part.split("}")[-1]]), key=len) in text


def test_each_comes_twice_on_instruments_of_its_own_within_the_session() -> None:
    made = talk_of()
    for name in PLAN:
        labels = [label for label in made.labels if label.typology == name]
        assert len({label.instruments[0] for label in labels}) == 2
        for label in labels:
            assert label.benign == (name in BENIGN)
            assert OPEN_NS <= label.start_ns == label.onset_ns < label.end_ns < OPEN_NS + 23_400 * SECOND_NS
            assert label.public_ns == (0 if name in ("mis_selling", "warned_promotion") else label.onset_ns)


@pytest.mark.parametrize(("strength", "posts", "articles"), [(1.0, 6.0, 3.0), (0.5, 3.0, 1.5), (0.25, 1.5, 0.75)])
def test_posts_and_articles_are_multiples_of_what_is_usual(strength: float, posts: float, articles: float) -> None:
    made = talk_of(replace(CONFIG, strength=strength))
    for label in made.labels:
        mine = articles_of(made, label)
        if label.typology in ("pump_coordination", "pump_warning"):
            assert len(mine) == max(2, round(posts * usual("post")))
            assert len({one.source for one in mine}) == max(2, round(len(mine) / 3))
            assert max(one.ts_event for one in mine) - min(one.ts_event for one in mine) <= 1_200 * SECOND_NS
        elif label.typology in ("enforcement_language", "denied_enquiry"):
            assert len(mine) == max(1, round(articles * usual("news")))


@pytest.mark.parametrize(("strength", "share"), [(1.0, 0.1), (0.5, 0.05)])
def test_so_many_of_the_advisers_sentences_mislead(strength: float, share: float) -> None:
    made = talk_of(replace(CONFIG, strength=strength), "mis_selling")
    for label in made.labels:
        call = [part for part in made.transcripts if part.call_id == label.event_id]
        said = " ".join(part.text for part in call if part.role == "adviser")
        cues = [s for s in (*sayings.PROMISED, *sayings.PRESSED) if plain(s, said)]
        sentences = sum(part.text.count(".") + part.text.count("?") for part in call if part.role == "adviser")
        assert len(cues) == pytest.approx(share * sentences, abs=1.0)
        assert any(plain(s, said) for s in sayings.PROMISED)
        assert label.start_ns in {part.ts_event for part in call}


def test_what_is_disguised_is_told_in_paraphrase() -> None:
    for disguise, hidden in ((0.0, 0.0), (0.5, 0.5), (1.0, 1.0)):
        made = talk_of(replace(CONFIG, disguise=disguise), "pump_coordination")
        for label in made.labels:
            mine = articles_of(made, label)
            open_ = sum(any(plain(s, one.headline) for s in sayings.CALLED) for one in mine)
            assert open_ == len(mine) - round(hidden * len(mine))


def test_a_typology_does_not_change_with_the_others() -> None:
    alone, among = talk_of(CONFIG, "mis_selling"), talk_of()
    assert alone.labels == [label for label in among.labels if label.typology == "mis_selling"]
    assert set(alone.transcripts) <= set(among.transcripts)


def test_ordinary_calls_are_on_no_label() -> None:
    made = talk_of(CONFIG, CLIENT_CALL)
    assert len({part.call_id for part in made.transcripts}) == 4
    assert made.labels == []
    assert made == talk_of(CONFIG, CLIENT_CALL)


def test_what_is_written_names_its_instrument_alone() -> None:
    made = talk_of(replace(CONFIG, disguise=0.5))
    assert made.articles
    for one in made.articles:
        assert tuple(MASTER.mentions(f"{one.headline}\n{one.body}")) == one.instruments, one.headline
