from __future__ import annotations

import io

import msgspec
from rich.console import Console

from monitor.render import alert_card, alert_line, sparkline
from schemas.alerts import Alert, AlertEvent, Drifting, Explanation, RuleResult
from tests.golden.examples import EXAMPLES


def sample() -> Alert:
    (event,) = (example.record for example in EXAMPLES if isinstance(example.record, AlertEvent))
    return event.data


def text(alert: Alert) -> str:
    console = Console(width=200, file=io.StringIO(), record=True)
    console.print(alert_card(alert))
    return console.export_text()


def test_a_line_says_when_what_how_bad_and_why() -> None:
    line = alert_line(sample()).plain
    for part in (
        "2023-11-14 22:13:20",
        "critical",
        "ACME.XTOC",
        "Price and volume pushed up 0.97",
        "volume 41.5 x trailing median (≥ 20)",
        "[11111111 r2]",
    ):
        assert part in line
    assert "\n" not in line


def test_a_line_says_what_may_be_at_most_so_much() -> None:
    rules = [RuleResult(name="wait", value=4.3, threshold=70.0, unit="s", at_most=True)]
    alert = msgspec.structs.replace(sample(), explanation=Explanation(rules=rules))
    assert "wait 4.3 s (≤ 70)" in alert_line(alert).plain


def test_a_closed_episode_says_so() -> None:
    closed = msgspec.structs.replace(sample(), activity="close")
    assert "closed Price and volume pushed up" in alert_line(closed).plain


def test_a_card_carries_the_evidence() -> None:
    card = text(sample())
    for part in (
        "ISIN ZZACME000018",
        "MAR Art. 12(1)(a)",
        "text",
        "absent",
        "ticks 10:250",
        "It would not have rung if volume below 20 x the trailing median.",
        "ab" * 32,
        "late events  2",
        "not over",
    ):
        assert part in card


def test_what_an_alert_does_not_say_is_not_on_its_card() -> None:
    finding = msgspec.structs.replace(sample().finding, p_value=None, regulation=[])
    bare = msgspec.structs.replace(
        sample(),
        finding=finding,
        explanation=msgspec.structs.replace(sample().explanation, rules=[], attributions=[], clears=""),
    )
    card = text(bare)
    for part in ("p-value", "regulation", "attributed", "rung if"):
        assert part not in card


def test_words_of_others_are_neither_markup_nor_terminal_commands() -> None:
    (place,) = sample().explanation.attributions[:1]
    hostile = msgspec.structs.replace(place, excerpt="[/b] up [red]50 %\x1b]0;title\x07")
    card = text(
        msgspec.structs.replace(
            sample(), explanation=msgspec.structs.replace(sample().explanation, attributions=[hostile])
        )
    )
    assert "[/b] up [red]50 %\N{REPLACEMENT CHARACTER}]0;title\N{REPLACEMENT CHARACTER}" in card


def test_a_sparkline_spans_zero_to_one() -> None:
    assert sparkline([0.0, 0.124, 0.126, 0.5, 0.99, 1.0]) == "▁▁▂▅██"


def test_what_had_drifted_is_on_the_card_and_nothing_where_nothing_had() -> None:
    drift = Drifting(kind="stale_feed", stream="ticks", since=1_700_000_000 * 10**9, detected=1_700_000_100 * 10**9)
    quality = msgspec.structs.replace(sample().quality, drift=[drift])
    assert "stale feed: ticks since 2023-11-14 22:13:20 UTC" in text(msgspec.structs.replace(sample(), quality=quality))
    assert "drift" not in text(sample())
