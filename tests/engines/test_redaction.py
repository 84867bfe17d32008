from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.redaction import redacted

DIGITS = st.sampled_from("0123456789")
WORDS = st.text("abcdefghij ,.\n", max_size=20)


def checked(number: str) -> str:
    """Return a card's number with its check digit (Luhn)."""
    total = sum(sum(divmod(int(d) * (2 - n % 2), 10)) for n, d in enumerate(reversed(number)))
    return number + str(-total % 10)


def iban(country: str, rest: str) -> str:
    """Return an IBAN with its check digits (MOD 97-10)."""
    left = int("".join(str(int(char, 36)) for char in rest + country + "00"))
    return f"{country}{98 - left % 97:02d}{rest}"


cards = st.builds(
    lambda first, rest: checked(first + rest), st.sampled_from("3456"), st.text(DIGITS, min_size=14, max_size=14)
)
ibans = st.builds(iban, st.sampled_from(["DE", "GB", "FR", "NO"]), st.text(DIGITS, min_size=11, max_size=23))
emails = st.from_regex(r"[a-z][a-z0-9._]{1,9}[a-z]@[a-z]{2,8}\.(com|org|co\.uk)", fullmatch=True)
phones = st.from_regex(
    r"\+[1-9][0-9]{1,2} [0-9]{3} [0-9]{3} [0-9]{2,3}|\([2-9][0-9]{2}\) [0-9]{3}-[0-9]{4}", fullmatch=True
)
accounts = st.builds("account no. {}".format, st.text(DIGITS, min_size=8, max_size=12))
PERSONAL = st.one_of(cards, ibans, emails, phones, accounts)


@given(WORDS, PERSONAL, WORDS)
def test_what_names_a_person_is_not_there_any_more(before: str, planted: str, after: str) -> None:
    said = redacted(f"{before} {planted} {after}")
    assert planted.removeprefix("account no. ") not in said
    assert "[" in said


@given(cards)
def test_digits_may_stand_in_groups(card: str) -> None:
    grouped = " ".join(card[n : n + 4] for n in range(0, 16, 4))
    assert redacted(f"by card {grouped}.") == "by card [card]."


@given(st.text())
def test_what_was_redacted_stays_as_it_is(text: str) -> None:
    assert redacted(redacted(text)) == redacted(text)


@pytest.mark.parametrize(
    "said",
    [
        "1741024327412000000 ns, 1,234,567.89 and 0.1234567890123456",
        "US0378331005 rose 3.4 % on 2026-11-30 at 14:30:00.123456",
        "the account was closed in 2026",
        "127.0.0.1:9092, tocsin.frames/3/1234567890123, d7784ea5b0c1",
        "4111 1111 1111 1112 fails its check",
        "GB00 NWBK 6016 1331 9268 19 fails its check",
    ],
)
def test_what_only_looks_like_it_stays(said: str) -> None:
    assert redacted(said) == said
