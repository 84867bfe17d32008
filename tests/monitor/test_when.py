from __future__ import annotations

import pytest

from monitor.errors import StartupError
from monitor.when import duration_ns, since_ns

NOW = 1_700_000_000 * 10**9


@pytest.mark.parametrize(
    ("text", "expected_s"),
    [
        ("beginning", 0),
        ("90s", 1_699_999_910),
        ("15m", 1_699_999_100),
        ("1h", 1_699_996_400),
        ("7d", 1_699_395_200),
        ("2023-11-14T22:13:20Z", 1_700_000_000),
        ("2023-11-14T23:13:20+01:00", 1_700_000_000),
        ("2023-11-14 22:13:20", 1_700_000_000),
    ],
)
def test_times_and_ages_are_understood(text: str, expected_s: int) -> None:
    assert since_ns(text, NOW) == expected_s * 10**9


def test_a_time_is_exact_to_the_microsecond() -> None:
    assert since_ns("2025-03-03T16:00:00.000019+00:00") == 1_741_017_600_000_019_000


@pytest.mark.parametrize("text", ["1969-12-31T23:59:59", "2263-01-01", "9999-12-31T23:59:59-12:00"])
def test_a_time_that_no_message_can_have_is_refused(text: str) -> None:
    with pytest.raises(StartupError, match=f"--to: expected a time from 1970 to 2262, found '{text}'"):
        since_ns(text, option="--to")


@pytest.mark.parametrize("text", ["", "1", "h", "yesterday", "-1h"])
def test_what_is_no_time_is_refused_with_what_would_be(text: str) -> None:
    with pytest.raises(StartupError, match="15m, 1h or 7d"):
        since_ns(text, NOW)


@pytest.mark.parametrize(("text", "ns"), [("90s", 90 * 10**9), ("2h", 7200 * 10**9), ("0d", 0)])
def test_durations(text: str, ns: int) -> None:
    assert duration_ns(text, "--warm-up") == ns


def test_a_length_of_time_without_a_unit_is_told() -> None:
    with pytest.raises(StartupError, match=r"--warm-up: expected a length of time such as 90s, .* found '90'"):
        duration_ns("90", "--warm-up")
