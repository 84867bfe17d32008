"""The account stage on lists and dicts: both ends of a transfer are judged, and an alert names its account."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable

import msgspec
import numpy as np
import pytest

from agents.account_state import AccountState
from agents.accounts import SPECS, Engines, accounts
from agents.flow import Arrival, Item, Scored
from agents.scenarios import scenarios
from engines.accounts import DAY_NS, HOUR_NS, Account
from engines.rules import NONE, Override, RuleFile, Scenario
from engines.statements import HEAD, StatementEngine
from engines.tracks import Track
from engines.transfers import EVERYONE, TransferConfig, TransferEngine
from engines.typologies.counterparty_default import CounterpartyConfig
from monitor.state import StateTable
from schemas.alerts import Alert, Explanation, Provenance, Subject, digest
from schemas.journal import RULES_ONLY, Clock, Ladder
from schemas.records import Statement, Transfer
from tests.agents.streams import outputs
from tests.payments import T0, background, names, pattern, transfer
from tests.statements import OWES, PAYS, model, statement

S = 1_000_000_000
COUNTS: Counter[str] = Counter()
LAUNDERING = RuleFile(
    version="7",
    typologies={"rapid_movement": Override(enabled=False)},
    scenarios=(
        Scenario(
            name="laundering",
            title="Laundering",
            weights={"structuring": 0.6, "rapid_movement": 0.6},
            within_ns=DAY_NS,
            open=0.65,
            hold_ns=DAY_NS,
        ),
    ),
)


def engines(forget_ns: int = 0, rules: RuleFile = NONE) -> Engines:
    return Engines(
        transfers=TransferEngine(TransferConfig(), names()),
        statements=StatementEngine(CounterpartyConfig(), model()),
        specs=SPECS,
        subject=lambda key: Subject(instrument="accounts", account=key),
        provenance=Provenance(code_version="test", config="c"),
        provenances={HEAD: Provenance(code_version="test", config="d", bundle="b")},
        count=COUNTS.update,
        forget_ns=forget_ns,
        rules=rules,
    )


def arrivals(records: Iterable[Transfer | Statement]) -> list[Item]:
    """Return transfers and statements as they arrive, the clock told before each second's first."""
    items: list[Item] = []
    clock_ns = 0
    for offset, one in enumerate(sorted(records, key=lambda one: one.ts_available)):
        at = one.ts_available
        if (second_ns := at - at % S) > clock_ns:
            clock_ns = second_ns
            items.append(Clock(clock_ns))
        topic = "transfers" if isinstance(one, Transfer) else "statements"
        items.append(Arrival(topic, 0, offset, one.account, at, offset, one, offset.to_bytes(32, "big")))
    return items


def run(
    items: Iterable[Item],
    state: dict[str, AccountState] | StateTable[AccountState],
    forget_ns: int = 0,
    rules: RuleFile = NONE,
) -> list[Alert]:
    return outputs(lambda feed: accounts(feed, state, engines(forget_ns, rules)), items, Alert)


def test_an_alert_names_its_account_its_transfers_and_closes_with_the_clock() -> None:
    cycle = pattern("round_trip")
    end = Clock(cycle[-1].ts_event + DAY_NS + 3 * S)
    first, last = [
        a for a in run([*arrivals([*background(), *cycle]), end], {}) if a.finding.typology == "round_trip@1"
    ]
    assert (first.activity, last.activity) == ("create", "close")
    assert first.subject == Subject(instrument="accounts", account="P5")
    assert first.times.available_at == cycle[-1].ts_available
    assert first.times.event_start == cycle[0].ts_event
    offsets = {one.offset for one in first.evidence.inputs}
    # Its own: the first and the last of the cycle. The path names the others.
    assert {960, 963} <= offsets
    assert first.explanation.attributions[0].locator == "ids " + " ".join(one.transfer_id for one in cycle)
    assert last.times.event_end == cycle[-1].ts_event + DAY_NS


def test_two_accounts_have_an_episode_each() -> None:
    found = run(arrivals([*background(), *pattern("sanctions_proximity")]), {})
    opened = [a for a in found if a.activity == "create"]
    assert [a.subject.account for a in opened] == ["L", "P6", "P7"]
    assert len({a.episode_id for a in opened}) == 3
    assert [a.finding.severity for a in opened] == ["critical", "warning", "warning"]


def test_what_cannot_be_judged_is_counted_and_told_on_the_alert() -> None:
    COUNTS.clear()
    named = pattern("dormant_account")
    twice = [*background(1), transfer("self", T0 + DAY_NS, "P1", "P1", 5.0), named[0], named[0], named[1]]
    found = [a for a in run(arrivals(twice), {}) if a.subject.account == "Z"]
    assert COUNTS == {"to_itself": 1, "late_or_twice": 1}
    # The first of them wakes it; with the second, after the first had come again, it is critical.
    assert [(a.activity, a.quality.late_events) for a in found] == [("create", 0), ("update", 1)]


def test_a_statement_alerts_of_its_account_by_the_bundle_that_scored_it_and_closes_when_none_confirms_it() -> None:
    stated = [statement(0, PAYS), statement(1, OWES)]
    hold_ns = SPECS[HEAD].hold_ns
    opened, closed = run([*arrivals(stated), Clock(stated[1].ts_event + hold_ns + 3 * S)], {})
    assert (opened.activity, closed.activity) == ("create", "close")
    assert opened.finding.typology == "counterparty_default@1"
    assert opened.subject == Subject(instrument="accounts", account="C1")
    assert [(one.topic, one.offset) for one in opened.evidence.inputs] == [("statements", 1)]
    assert (opened.provenance.config, opened.provenance.bundle) == ("d", "b")
    assert closed.times.event_end == stated[1].ts_event + hold_ns


def test_under_rules_only_no_statement_is_scored_and_each_is_counted() -> None:
    COUNTS.clear()
    stated = arrivals([statement(0, OWES), statement(1, OWES)])
    assert run([Ladder(RULES_ONLY, "slow"), *stated], {}) == []
    assert COUNTS == {"rules_only: counterparty_default": 2}
    assert len(run([Ladder(RULES_ONLY, "slow"), stated[0], stated[1], Ladder(0, "well"), *stated[2:]], {})) == 1


def test_an_account_that_a_statement_named_first_is_as_near_to_a_list_as_any() -> None:
    paid = pattern("sanctions_proximity")
    named = statement(0, PAYS, account="L")
    found = run(arrivals([*background(), named, *paid]), {})
    assert [a.subject.account for a in found if a.activity == "create"] == ["L", "P6", "P7"]


def test_a_state_that_was_packed_goes_on_as_if_it_had_not_been() -> None:
    paid = [*background(2), *(one for name in ("structuring", "round_trip") for one in pattern(name))]
    items = arrivals([*paid, statement(0, PAYS, account="P5"), statement(1, OWES, account="P5")])
    whole: dict[str, AccountState] = {}
    expected = run(items, whole)
    assert expected
    for cut in (1, 60, len(items) - 3):
        state: dict[str, AccountState] = {}
        found = run(items[:cut], state)
        state = {key: AccountState.unpack(kept.pack()) for key, kept in state.items()}
        found += run(items[cut:], state)
        assert digest(found) == digest(expected)
        assert {key: kept.pack() for key, kept in state.items()} == {key: kept.pack() for key, kept in whole.items()}


def test_who_moves_nothing_is_forgotten_unless_an_episode_runs() -> None:
    state: StateTable[AccountState] = StateTable()
    items = arrivals([*background(2), *pattern("dormant_account")])
    later = T0 + 20 * DAY_NS + 2 * HOUR_NS
    run([*items, Clock(later)], state, forget_ns=10 * DAY_NS)
    assert set(state) == {"Z", "X1", "X2", EVERYONE + "USD"}
    run(
        [Clock(later + 9 * DAY_NS), Clock(later + 11 * DAY_NS), Clock(later + 12 * DAY_NS)],
        state,
        forget_ns=10 * DAY_NS,
    )
    assert set(state) == set()


# Scenarios.


def laundered() -> list[Item]:
    """Return payments among which P1 lets money pass through, and then pays just below the threshold."""
    at = T0 + 20 * DAY_NS - 4 * HOUR_NS
    passed = [
        transfer("in", at, "X9", "P1", 4_000.0),
        transfer("out1", at + HOUR_NS, "P1", "X7", 2_000.0),
        transfer("out2", at + 2 * HOUR_NS, "P1", "X8", 1_900.0),
    ]
    items = arrivals([*background(), *passed, *pattern("structuring")])
    return [*items, Clock(T0 + 22 * DAY_NS)]


def test_scenarios_weigh_what_each_account_did_and_the_silent_end_there() -> None:
    (scenario,) = LAUNDERING.scenarios
    state = {key: AccountState(Account()) for key in ("A", "B")}

    async def scored() -> AsyncIterator[Item]:
        for second, (key, head, score) in enumerate(
            [("A", "structuring", 0.5), ("B", "rapid_movement", 0.7), ("A", "rapid_movement", 0.7)]
        ):
            (arrival,) = arrivals([transfer(second, T0 + second * S, key, "X", 1.0)])[1:]
            assert isinstance(arrival, Arrival)
            ts = np.array([T0 + second * S])
            yield arrival
            yield Scored(key, Track(head, ts, ts, np.array([score]), ts, lambda _: Explanation()), arrival)

    async def collect() -> list[Scored]:
        judged = scenarios(
            scored(),
            state,
            names={head: head for head in SPECS},
            silent=LAUNDERING.silent,
            applying=lambda _: (scenario,),
        )
        return [one async for one in judged if isinstance(one, Scored)]

    found = [(one.key, one.track.head, one.track.score.item(0)) for one in asyncio.run(collect())]
    assert found == [
        ("A", "structuring", 0.5),
        ("A", "scenario_laundering", pytest.approx(0.6 * 0.5)),
        ("B", "scenario_laundering", pytest.approx(0.6 * 0.7)),
        ("A", "scenario_laundering", pytest.approx(1 - (1 - 0.6 * 0.5) * (1 - 0.6 * 0.7))),
    ]


def test_a_scenario_of_payments_alerts_of_the_account_with_each_part_where_one_alone_is_not_enough() -> None:
    found = run(laundered(), {}, rules=LAUNDERING)
    assert {a.finding.typology for a in found} == {"structuring@1", "scenario_laundering@7"}
    told = [a for a in found if a.finding.typology == "scenario_laundering@7"]
    assert {a.subject.account for a in told} == {"P1"}
    assert (told[0].activity, told[-1].activity) == ("create", "close")
    opened = told[0]
    assert opened.subject.instrument == "accounts"
    rules = {rule.name: rule for rule in opened.explanation.rules}
    assert (rules["structuring"].weight, rules["rapid_movement"].weight) == (0.6, 0.6)
    parts = [0.6 * rules[name].value for name in ("structuring", "rapid_movement")]
    assert 0.0 < max(parts) < 0.65
    assert opened.finding.score == pytest.approx(1 - (1 - parts[0]) * (1 - parts[1]))
    offsets = {item.offset: item.value for item in laundered() if isinstance(item, Arrival)}
    named = [offsets[one.offset] for one in opened.evidence.inputs]
    paid = {one.transfer_id for one in named if isinstance(one, Transfer)}
    assert "tout2" in paid
    assert any(id_.startswith("tstructuring") for id_ in paid)


def test_what_scenarios_remember_of_an_account_is_kept_in_a_checkpoint_and_older_ones_are_read() -> None:
    items = laundered()
    expected = run(items, {}, rules=LAUNDERING)
    cut = next(
        n for n, item in enumerate(items) if isinstance(item, Arrival) and item.value == pattern("structuring")[1]
    )
    state: dict[str, AccountState] = {}
    found = run(items[:cut], state, rules=LAUNDERING)
    state = {key: AccountState.unpack(kept.pack()) for key, kept in state.items()}
    assert state["P1"].peaks[""].steps.keys() >= {"rapid_movement"}
    found += run(items[cut:], state, rules=LAUNDERING)
    assert digest(found) == digest(expected)
    *older, _, _ = msgspec.msgpack.decode(state["P1"].pack())
    assert AccountState.unpack(msgspec.msgpack.encode(older)).peaks == {}
