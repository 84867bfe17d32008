"""A rule's budget in the chain: the threshold follows, stands on the alert, and is as before where no rule says so."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import msgspec
import numpy as np

from agents.flow import Item
from agents.instrument import Engines
from agents.instrument_state import InstrumentState
from engines.alert_budget import Spent
from engines.rules import Override, RuleFile, overridden
from schemas.alerts import Alert
from tests.agents.streams import BEGIN, KEY, S, arrivals, cut, engines, news, pump, run

#: A text an hour, of rising scores: momentary episodes of the words' typology, one after another.
TEXTS = [(news(3_600.0 * n, f"d{n}"), 0.80 + 0.01 * (n % 15)) for n in range(1, 48)]
OPEN = engines().specs["adverse_text"].open


def made(budget: float | None) -> Engines:
    rules = RuleFile(version="1", typologies={"adverse_text": Override(budget=budget, hold_ns=S)})
    shipped = engines()
    # Momentary: each text is over at once.
    specs = {
        head: msgspec.structs.replace(overridden(spec, rules), momentary=True) for head, spec in shipped.specs.items()
    }
    return replace(shipped, rules=rules, specs=specs)


def opened(items: Iterable[Item], budget: float | None, state: dict[str, InstrumentState] | None = None) -> list[Alert]:
    alerts = run(items, {} if state is None else state, made(budget))
    return [one for one in alerts if one.activity == "create" and one.finding.typology.startswith("adverse_text")]


def test_a_budget_opens_fewer_where_more_came_and_says_at_what_threshold() -> None:
    fixed, followed = opened(arrivals([], TEXTS), None), opened(arrivals([], TEXTS), 2.0)
    assert len(fixed) > 10
    assert 1 < len(followed) < len(fixed) / 2
    assert {one.finding.threshold for one in fixed} == {None}
    thresholds = [one.finding.threshold for one in followed]
    assert thresholds[0] is not None
    assert all(told and told <= one.finding.score for told, one in zip(thresholds, followed, strict=True))
    assert len(set(thresholds)) == len(thresholds)


def test_a_budget_goes_on_after_a_restart_and_over_any_framing() -> None:
    frame = pump()
    ts = int(frame.ts_available[-1]) // S - BEGIN // S
    texts = [(news(float(at), f"d{at}"), 0.95) for at in range(600, ts, 300)]
    whole = opened(arrivals(cut(frame, [500]), texts), 5.0)
    assert opened(arrivals(cut(frame[:300], [1]), []), 5.0) == []
    assert [one.alert_id for one in opened(arrivals(cut(frame, [7]), texts), 5.0)] == [one.alert_id for one in whole]
    items = arrivals(cut(frame, [500]), texts)
    state: dict[str, InstrumentState] = {}
    found = opened(items[: len(items) // 2], 5.0, state)
    state = {KEY: InstrumentState.unpack(state[KEY].pack())}
    found += opened(items[len(items) // 2 :], 5.0, state)
    assert [one.alert_id for one in found] == [one.alert_id for one in whole]


def test_rules_without_a_budget_put_the_threshold_back() -> None:
    state: dict[str, InstrumentState] = {}
    items = arrivals([], TEXTS)
    opened(items[: len(items) // 2], 2.0, state)
    assert set(state[KEY].spent) == {"adverse_text"}
    state[KEY].spent["adverse_text"] = Spent(50.0, BEGIN)
    rest = opened(items[len(items) // 2 :], None, state)
    assert np.min([one.finding.score for one in rest]) < OPEN + 0.05
    assert msgspec.structs.asdict(rest[0].finding)["threshold"] is None
