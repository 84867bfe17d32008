"""Typologies of words in the instrument stage: which text rings, for which of them, with which evidence."""

from __future__ import annotations

import dataclasses
from typing import Literal

import msgspec

from agents.flow import Arrival, Item
from engines.typologies.mis_selling import MisSellingConfig
from engines.words import WordsConfig
from schemas.alerts import Alert
from schemas.records import News, TranscriptSegment
from tests.agents.streams import BEGIN, KEY, S, arrivals, engines, news, run

WORDS = {"mis_selling", "pump_coordination", "enforcement_language"}
LURE = "next pump in 5 minutes, everyone in"


def document(headline: str, channel: Literal["news", "post"], document: str = "d1") -> list[Item]:
    return arrivals([], [(msgspec.structs.replace(news(10, document), headline=headline, channel=channel), 0.1)])


def said(text: str, role: str) -> list[Item]:
    """Return a segment of a call where `arrivals` has put a document."""
    at = BEGIN + 10 * S
    segment = TranscriptSegment(
        ts_event=at, ts_available=at, instrument=KEY, call_id="c", segment=1, text=text, role=role
    )
    return [
        msgspec.structs.replace(item, topic="transcripts", value=segment) if isinstance(item, Arrival) else item
        for item in document("", "news")
    ]


def ring(items: list[Item], config: WordsConfig = WordsConfig()) -> list[Alert]:  # noqa: B008
    made = dataclasses.replace(engines(), words=config)
    return [alert for alert in run(items, {}, made) if alert.finding.typology.split("@")[0] in WORDS]


def test_an_adviser_who_guarantees_a_return_rings_and_says_where() -> None:
    (alert,) = ring(said("Well. I guarantee you 8% a year.", "adviser"))
    assert (alert.finding.typology, alert.finding.severity, alert.finding.score) == ("mis_selling@1", "warning", 0.5)
    assert "FINRA Rule 2150(b)" in alert.finding.regulation
    (place,) = alert.explanation.attributions
    assert (place.topic, place.locator, place.excerpt) == ("transcripts", "chars 8:24", "guarantee you 8%")
    assert [one.topic for one in alert.evidence.inputs] == ["transcripts"]
    assert alert.subject.instrument == KEY


def test_a_client_and_a_denial_do_not_ring() -> None:
    assert ring(said("I guarantee you 8% a year.", "client")) == []
    assert ring(said("We never guarantee you 8% a year.", "adviser")) == []


def test_posts_coordinate_and_news_enforces() -> None:
    assert [a.finding.typology for a in ring(document(LURE, "post"))] == ["pump_coordination@1"]
    assert ring(document(LURE, "news")) == []
    fined = "Broker fined for market manipulation"
    assert [(a.finding.typology, a.finding.severity) for a in ring(document(fined, "news"))] == [
        ("enforcement_language@1", "info")
    ]
    assert ring(document(fined, "post")) == []


def test_a_desk_sets_the_weight_that_rings() -> None:
    weak = said("It is a sure thing, act now.", "adviser")  # 0.7 and 0.5
    assert len(ring(weak)) == 1
    assert ring(weak, WordsConfig(mis_selling=MisSellingConfig(threshold=1.5))) == []


def test_a_text_without_an_embedding_is_evidence_and_changes_nothing() -> None:
    items = [
        msgspec.structs.replace(item, embedding=None) if isinstance(item, Arrival) else item
        for item in document("Broker fined for market manipulation", "news")
    ]
    assert any(isinstance(item, Arrival) and isinstance(item.value, News) for item in items)
    assert ring(items) == []
