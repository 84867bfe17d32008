"""What names a person or a person's account in a text is replaced, where the text leaves the monitor.

E-mail addresses, payment cards (ISO/IEC 7812, by their first and their check digit), IBANs (ISO 13616, by theirs),
telephone numbers (ITU-T E.164 after a plus, or as North America writes them) and numbers that a text itself calls an
account's. What is not written so is not known: names of people are not looked for.
"""

from __future__ import annotations

import re

#: Digits of a number may stand in groups.
_GROUPED = r"(?:[ -]?\d)"
_FOUND = re.compile(
    rf"""
      (?P<email>[\w.+%-]+@[\w-]+(?:\.[\w-]+)+)
    | (?P<iban>\b(?-i:[A-Z]{{2}}\d{{2}}(?:[ ]?[A-Z0-9]){{11,30}})\b)
    | (?P<account>\b(?:account|acct|a/c)\b\.?[ ]*(?:no|number|nr|num)?[ .:#]*(?P<number>\d{_GROUPED}{{5,}})\b)
    | (?P<phone>\+\d{_GROUPED}{{7,14}}\b|(?<![\w-])(?<!\d[.,])(?:\(\d{{3}}\)[ ]?|\d{{3}}-)\d{{3}}-\d{{4}}\b)
    | (?P<card>(?<![\w-])(?<!\d[.,])[2-6]{_GROUPED}{{12,18}}(?![\w-]|[.,]\d))
    """,
    re.VERBOSE | re.IGNORECASE,
)


def redacted(text: str) -> str:
    """Return the text with what names a person replaced by what it was.

    Example
    -------
    >>> redacted("Write to jo@example.org or +44 20 7946 0018; card 4111 1111 1111 1111, order 4111 1111 1111 1112")
    'Write to [email] or [phone]; card [card], order 4111 1111 1111 1112'
    >>> redacted("Pay DE89 3704 0044 0532 0130 00 from account no. 12345678 at 1,234,567.89 on 2026-11-30")
    'Pay [iban] from account no. [account] at 1,234,567.89 on 2026-11-30'
    """
    return _FOUND.sub(_replaced, text)


def excerpt(text: str, start: int, end: int) -> str:
    """Return the characters ``[start, end)`` of a text, redacted: what they cut in two is replaced whole.

    Example
    -------
    >>> excerpt("Ask jo@example.org for more", 0, 6), excerpt("Ask jo@example.org for more", 8, 22)
    ('Ask [email]', '[email] for')
    """
    for found in _FOUND.finditer(text):
        if found.start() < end and start < found.end() and _replaced(found) != found[0]:
            start, end = min(start, found.start()), max(end, found.end())
    return redacted(text[start:end])


def _replaced(found: re.Match[str]) -> str:
    kind, said = found.lastgroup, found[0]
    if kind == "card":
        return "[card]" if _luhn(re.sub(r"[ -]", "", said)) else said
    if kind == "iban":
        # What follows in capitals may look like a part of it.
        end = next((end for end in range(15, len(said) + 1) if _mod_97(said[:end])), 0)
        return "[iban]" + said[end:] if end else said
    if kind == "account":
        return said[: found.start("number") - found.start()] + "[account]"
    return f"[{kind}]"


def _luhn(digits: str) -> bool:
    """Return whether the last digit checks the others (ISO/IEC 7812-1, annex B)."""
    doubled = (divmod(2 * int(digit), 10) for digit in digits[-2::-2])
    return (sum(map(int, digits[::-2])) + sum(map(sum, doubled))) % 10 == 0


def _mod_97(iban: str) -> bool:
    """Return whether the two digits after the country check the rest (ISO/IEC 7064, MOD 97-10)."""
    iban = iban.replace(" ", "")
    return len(iban) >= 15 and int("".join(str(int(char, 36)) for char in iban[4:] + iban[:4])) % 97 == 1
