"""Rule files: what is read of them, and one sentence with its place on each mistake."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from engines.rule_schema import json_schema
from engines.rule_text import MOST_BYTES, MOST_PROBLEMS, RulesError, duration, read
from engines.sessions import Session

EXAMPLE = (Path(__file__).parents[2] / "examples" / "rules.yaml").read_text()
SCENARIO = "scenarios: [{{name: a, title: A, {}}}]"
WEIGHTS = "weights: {pump_and_dump: 1}"
MIXED = (
    "scenarios[0].weights: expected typologies of instruments alone or of accounts alone, found spoofing of instruments"
    " and fan_in of accounts; make a scenario of each"
)
OF_ACCOUNTS = (
    "scenarios[0].when: expected none beside typologies of accounts (fan_in), found some; remove it, for no desk,"
    " venue, asset class or instrument is known of an account"
)


def mistakes(text: str) -> list[tuple[int, int, str]]:
    with pytest.raises(RulesError) as caught:
        read(text)
    return [tuple(one) for one in caught.value.problems]


def as_json(text: str) -> Any:
    """Return what an editor makes of YAML: times and all else that JSON does not know as text."""
    return json.loads(json.dumps(yaml.safe_load(text), default=lambda time: time.isoformat()))


def test_the_example_is_read() -> None:
    rules = read(EXAMPLE)
    assert rules.version == "2026-12-01"
    assert rules.effective_ns == 1_796_112_000_000_000_000
    assert rules.typologies["pump_and_dump"].parameters == {"rise": 0.03, "window_ns": 120_000_000_000}
    assert rules.typologies["pump_and_dump"].hold_ns == 7_200_000_000_000
    assert not rules.typologies["adverse_text"].enabled
    assert rules.scenarios[0].when.venue == ("XTOC",)
    assert rules.scenarios[0].within_ns == 900_000_000_000
    assert [one.scope for one in rules.scenarios] == ["instrument", "account"]
    assert rules.sessions == {"XNYS": Session(open="09:30", close="16:00", zone="America/New_York")}


def test_the_published_schema_takes_the_example_and_refuses_what_is_refused() -> None:
    schema = Draft202012Validator(json_schema())
    Draft202012Validator.check_schema(json_schema())
    schema.validate(as_json(EXAMPLE))
    for text in (
        "version: '1'\ncolour: red",
        "version: '1'\ntypologies: {pump_and_dump: {open: 2}}",
        "version: '1'\ntypologies: {pump_and_dump: {parameters: {rize: 1}}}",
        "version: '1'\ntypologies: {pump_and_dump: {hold: 30}}",
        "version: '1'\ntypologies: {fan_in: {budget: 1}}",
        "version: '1'\nscenarios: [{name: a, title: A, weights: {no_such: 1}}]",
        "version: '1'\nscenarios: [{name: a, title: A, weights: {spoofing: 1, structuring: 1}}]",
    ):
        assert not schema.is_valid(as_json(text))
        assert mistakes(text)


def test_a_version_is_text_as_it_is_written() -> None:
    assert read("version: 1.10").version == "1.10"


@pytest.mark.parametrize(
    ("text", "line", "column", "told"),
    [
        ("", 1, 1, "expected rules, found nothing"),
        ("[1]", 1, 1, "expected `name: value`, found a list"),
        ("version: [", 1, 11, "expected YAML"),
        ("typologies: {}", 1, 1, "expected a field version, found none; add `version: ...`"),
        ("version: a b", 1, 10, "version: expected up to 40 letters, digits, dots, - and _, found a b"),
        ("version: a\nversion: b", 2, 1, "expected version once, found it again"),
        ("version: a\ncolour: red", 2, 1, "found field colour"),
        ("version: a\neffective_from: 2026-12-01", 2, 17, "that ends with Z, found 2026-12-01"),
        ("version: a\neffective_from: 2026-12-01T08:00:00.5Z", 2, 17, "in whole seconds"),
        ("version: a\neffective_from: soon", 2, 17, "expected a time in ISO 8601, found soon"),
        ("version: a\ntypologies: {pump_and_dmp: {}}", 2, 14, "pump_and_dump is meant?"),
        ("version: a\ntypologies: {pump_and_dump: {open: 1.5}}", 2, 36, "of at least 0 and of at most 1, found 1.5"),
        ("version: a\ntypologies: {pump_and_dump: {open: .nan}}", 2, 36, "expected a number"),
        ("version: a\ntypologies: {pump_and_dump: {open: '0.5'}}", 2, 36, "expected a number"),
        ("version: a\ntypologies: {pump_and_dump: {open: 0.05}}", 2, 14, "expected 0 <= close <= open <= critical"),
        ("version: a\ntypologies: {pump_and_dump: {budget: 0}}", 2, 38, "expected a number above 0"),
        ("version: a\ntypologies: {market_wide: {budget: 1}}", 2, 14, "judges no instrument but the market"),
        ("version: a\ntypologies: {cross_product: {budget: 1}}", 2, 14, "judges no instrument but the market"),
        ("version: a\ntypologies: {fan_in: {budget: 1}}", 2, 14, "judges no instrument but the account"),
        ("version: a\ntypologies: {pump_and_dump: {hold: 30}}", 2, 36, "expected a duration with its unit"),
        ("version: a\ntypologies: {pump_and_dump: {hold: 0 s}}", 2, 36, "expected a duration from 1 ns"),
        ("version: a\ntypologies: {pump_and_dump: {enabled: no}}", 2, 39, "expected true or false, found no"),
        ("version: a\ntypologies: {pump_and_dump: {severity: loud}}", 2, 40, "one of critical, info, warning"),
        ("version: a\ntypologies: {pump_and_dump: {parameters: {rize: 1}}}", 2, 43, "rise is meant?"),
        ("version: a\ntypologies: {pump_and_dump: {parameters: {rise: 0}}}", 2, 49, "expected a number above 0"),
        ("version: a\ntypologies: {pump_and_dump: {parameters: {window_ns: 5 s}}}", 2, 43, "window is meant?"),
        ("version: a\ntypologies: {adverse_text: {parameters: {a: 1}}}", 2, 41, "adverse_text has no parameters"),
        ("version: a\n" + SCENARIO.format("weights: {}"), 2, 42, "expected at least one entry"),
        ("version: a\n" + SCENARIO.format("weights: {spofing: 1}"), 2, 43, "found spofing"),
        ("version: a\n" + SCENARIO.format("weights: {market_wide: 1}"), 2, 43, "found market_wide"),
        ("version: a\n" + SCENARIO.format("weights: {spoofing: 1, fan_in: 1}"), 2, 42, MIXED),
        ("version: a\n" + SCENARIO.format("weights: {fan_in: 1}, when: {venue: [XTOC]}"), 2, 61, OF_ACCOUNTS),
        ("version: a\n" + SCENARIO.format("weights: {pump_and_dump: 0}"), 2, 58, "expected a number above 0"),
        ("version: a\n" + SCENARIO.format("weights: {pump_and_dump: 0.3}"), 2, 13, "expected open <= 0.3"),
        ("version: a\n" + SCENARIO.format(WEIGHTS + ", when: {venue: XTOC}"), 2, 76, "expected a list, found XTOC"),
        ("version: a\n" + SCENARIO.format(WEIGHTS + ", when: {class: [a]}"), 2, 69, "asset_class is meant?"),
        ("version: a\nsessions: {NYSE.: {open: 09:30, close: 16:00}}", 2, 12, "sessions: expected a MIC (4 capital"),
        ("version: a\nsessions: {XNYS: {open: 9.30, close: 16:00}}", 2, 25, "a time of day in quotes, as"),
        ("version: a\nsessions: {XNYS: {open: 16:00, close: 09:30}}", 2, 18, "an opening before the close of the same"),
        ("version: a\nsessions: {XNYS: {open: 09:30, close: 16:00, zone: New_York}}", 2, 18, "a time zone as America"),
        ("version: a\nsessions: {XNYS: {open: 09:30, close: 16:00, tz: UTC}}", 2, 46, "found field tz"),
        ("x" * (MOST_BYTES + 1), 1, 1, "expected at most 262,144 bytes"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_place_and_what_was_expected(text: str, line: int, column: int, told: str) -> None:
    found = mistakes(text)
    assert told in found[0][2]
    assert found[0][:2] == (line, column)


def test_every_mistake_is_told_at_once() -> None:
    text = "colour: red\ntypologies:\n  pump_and_dump: {open: 7, hold: 3}\nscenarios: 3"
    assert [line for line, _, _ in mistakes(text)] == [1, 1, 3, 3, 4]


def test_two_scenarios_of_one_name_are_refused() -> None:
    one = f"{{name: a, title: A, {WEIGHTS}}}"
    assert "found a again" in mistakes(f"version: a\nscenarios: [{one}, {one}]")[0][2]


def test_a_label_of_the_desk_may_be_weighed() -> None:
    assert read("version: a\n" + SCENARIO.format("weights: {label_cyber: 1}")).scenarios[0].weights == {
        "label_cyber": 1
    }


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(RulesError):
        read(text)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=8) | st.integers(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["version", "typologies", "scenarios", "pump_and_dump", "parameters", "weights", "when", "x"]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
def test_any_yaml_is_read_or_refused(value: object) -> None:
    with contextlib.suppress(RulesError):
        read(yaml.safe_dump(value))


@given(st.integers(1, 36_500 * 86_400 * 10**9))
def test_a_duration_is_read_as_it_is_written(ns: int) -> None:
    text = f"version: a\ntypologies: {{adverse_text: {{hold: {duration(ns)}}}}}"
    assert read(text).typologies["adverse_text"].hold_ns == ns


def test_aliases_that_unfold_without_end_are_refused() -> None:
    weights = ", ".join(f"x{i}: 1" for i in range(1_000))
    text = f"version: 1\nscenarios:\n- &s\n  name: a\n  weights: {{{weights}}}\n" + "- *s\n" * 100
    with pytest.raises(RulesError, match="aliases repeat more than 10,000 values"):
        read(text)


def test_after_a_hundred_mistakes_no_more_are_looked_for() -> None:
    with pytest.raises(RulesError) as refused:
        read("version: 1\ntypologies: {" + ", ".join(f"x{i}: 1" for i in range(5_000)) + "}")
    assert len(refused.value.problems) == MOST_PROBLEMS
