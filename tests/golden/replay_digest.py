"""Replay the golden recording and print the digest of its alerts on the last line.

The last digits of a text's score are the processor's and the back end's, so numbers that agree with the stored ones
within the tolerance are told as stored (docs/decisions/the-golden-day-has-a-tolerance.md): the digest is the same on
every machine. What differs beyond that stands above it, and the exit code is 1 then.
"""

from __future__ import annotations

import sys

from schemas.alerts import digest
from tests.golden import day


def main() -> int:
    now, then = day.found(), day.stored()
    for line in day.differences(now.alerts, then.alerts):
        print(line)
    settled = day.settled(now.alerts, then.alerts)
    exact = sum(one == other for one, other in zip(now.alerts, settled, strict=True))
    print(f"{len(settled)} alerts, {exact} of them equal to the last bit")
    found = digest(settled)
    if found != then.digest:
        print(f"the stored digest is {then.digest}. {day.REWRITE}")
    print(found)
    return int(found != then.digest)


if __name__ == "__main__":
    sys.exit(main())
