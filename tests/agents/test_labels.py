"""Labels of texts in the instrument stage: what rings, for whom, with which evidence, and what a removed one leaves."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Iterable, MutableMapping

import msgspec
import numpy as np
import pytest

from agents.flow import Arrival, Item, Scored
from agents.instrument import Engines
from agents.instrument_state import InstrumentState
from agents.text import text
from engines.text_labels import LabelFile, TextLabel
from engines.words import WordsConfig
from schemas.alerts import Alert
from schemas.journal import Clock
from tests.agents.streams import BEGIN, KEY, S, arrivals, engines, news, run

DIM = 384
BUDGET = 0.01


def label(name: str = "cyber", axis: int = 0) -> TextLabel:
    """Return a label by one number of the vector, which of 999 quiet texts has the values 0.001, 0.002 to 0.999."""
    return TextLabel(
        LabelFile(
            format=1, name=name, title=f"A text is about {name}", severity="warning", budget=BUDGET, bundle="b",
            encoder="e", examples=12, calibrated=999, threshold=0.99, direction=np.eye(DIM)[axis].tolist(),
            statistics=[rank / 1_000 for rank in range(999, 0, -1)], ranks=list(range(1, 1_000)),
        )
    )  # fmt: skip


def heard(number: float, seconds: float, document: str = "d", instrument: str = KEY, axis: int = 0) -> list[Item]:
    """Return a text whose vector has this number on an axis, behind its clock."""
    found = arrivals([], [(news(seconds, document, instrument), 0.1)])
    (arrival,) = [item for item in found if isinstance(item, Arrival)]
    assert arrival.embedding is not None
    vector = np.zeros(DIM, np.float32)
    vector[axis] = number
    embedding = msgspec.structs.replace(arrival.embedding, vector=vector.tobytes())
    return [*(item for item in found if isinstance(item, Clock)), msgspec.structs.replace(arrival, embedding=embedding)]


def labelled(*labels: TextLabel) -> Engines:
    made = engines()
    return dataclasses.replace(made, labels=labels, specs={**made.specs, **{one.head: one.spec for one in labels}})


def ring(items: Iterable[Item], state: MutableMapping[str, InstrumentState], *labels: TextLabel) -> list[Alert]:
    return [alert for alert in run(items, state, labelled(*labels)) if alert.finding.typology.startswith("label_")]


def test_it_rings_for_the_instrument_that_the_text_names_and_says_why() -> None:
    items = [
        *heard(0.9905, 10, "d1"),
        *heard(0.98, 11, "d2", "OTHER.XTOC"),
        *heard(0.9895, 12, "d3", "THIRD.XTOC"),
    ]
    (alert,) = ring(items, {}, label())
    assert (alert.subject.instrument, alert.activity) == (KEY, "create")
    assert (alert.finding.typology, alert.finding.title) == ("label_cyber@1", "A text is about cyber")
    assert (alert.finding.severity, alert.finding.p_value) == ("warning", 0.01)
    assert alert.finding.score == 0.5
    assert alert.times.event_start == BEGIN + 10 * S
    rules = {rule.name: (rule.value, rule.threshold) for rule in alert.explanation.rules}
    assert rules["label_cyber"] == pytest.approx((0.9905, 0.99))
    assert rules["rarity"] == (2.0, 2.0)
    (place,) = alert.explanation.attributions
    assert (place.topic, place.locator, place.excerpt) == ("news", "chars 0:13", "Shares plunge")
    assert "p-value as cyber is above 0.01; this one's is 0.01" in alert.explanation.clears
    assert [(one.topic, one.offset) for one in alert.evidence.inputs] == [("news", 0)]


def test_a_rarer_text_is_critical_and_calm_closes() -> None:
    items = [
        *heard(0.9905, 10, "d1"),
        *heard(0.9995, 20, "d2"),
        *heard(0.5, 30, "d3"),
        Clock(BEGIN + (30 + 1_801) * S),
    ]
    found = ring(items, {}, label())
    assert [(a.activity, a.finding.severity, a.finding.p_value) for a in found] == [
        ("create", "warning", 0.01),
        ("update", "critical", 0.001),
        ("close", "critical", None),
    ]
    # A text is a moment: the half hour runs from the last that rang.
    assert found[-1].times.available_at == BEGIN + (20 + 1_802) * S


def test_a_label_rings_again_though_no_other_text_came_between() -> None:
    later = 3 * 3_600
    items = [*heard(0.9995, 10, "d1"), Clock(BEGIN + later * S), *heard(0.9995, later + 10, "d2")]
    assert [alert.activity for alert in ring(items, {}, label())] == ["create", "close", "create"]


def test_labels_ring_each_for_itself() -> None:
    items = [*heard(0.9995, 10, "d1"), *heard(0.9995, 20, "d2", axis=1)]
    found = ring(items, {}, label(), label("strike", axis=1))
    assert [a.finding.typology for a in found] == ["label_cyber@1", "label_strike@1"]
    assert ring(items, {}) == []


def test_an_episode_goes_on_from_packed_state_and_one_of_a_removed_label_closes() -> None:
    state: dict[str, InstrumentState] = {}
    (opened,) = ring(heard(0.9995, 10), state, label())

    def again() -> dict[str, InstrumentState]:
        return {key: InstrumentState.unpack(kept.pack()) for key, kept in state.items()}

    clock = [Clock(BEGIN + 60 * S)]
    assert ring(clock, again(), label()) == []
    removed = again()
    (closed,) = ring(clock, removed, label("strike"))
    assert (closed.episode_id, closed.fingerprint, closed.finding.typology, closed.activity) == (
        opened.episode_id,
        opened.fingerprint,
        "label_cyber@1",
        "close",
    )
    assert not removed[KEY].episodes
    assert ring(clock, removed, label("strike")) == []


def test_a_text_without_an_embedding_is_judged_by_no_label() -> None:
    items = [
        msgspec.structs.replace(item, embedding=None) if isinstance(item, Arrival) else item
        for item in heard(0.9995, 10)
    ]
    assert ring(items, {}, label()) == []


@pytest.mark.parametrize("labels", [(), (label(),), (label(), label("strike", 1))])
def test_a_text_costs_one_track_a_label(labels: tuple[TextLabel, ...]) -> None:
    state = {KEY: InstrumentState(engines().ticks.new_state())}

    async def told() -> list[str]:
        async def items() -> AsyncIterator[Item]:
            for item in heard(0.5, 10):
                yield item

        agent = text(items(), state, adverse=0.8, skipped=lambda modality: None, lexicon=WordsConfig(), labels=labels)
        return [item.track.head async for item in agent if isinstance(item, Scored)]

    assert asyncio.run(told()) == ["adverse_text", *(one.head for one in labels)]
