"""Write what golden tests have not stored yet: ``python -m tests.golden.write``.

The bytes of examples and the recording are never written again: messages of that form lie in topics and recordings.
``--alerts`` stores anew what a replay of the recording gives, where another answer is meant.
"""

from __future__ import annotations

import argparse
import sys

from tests.golden import day
from tests.golden.examples import EXAMPLES, MESSAGES


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--alerts", action="store_true", help="store the golden day's alerts anew")
    options = parser.parse_args()

    MESSAGES.mkdir(exist_ok=True)
    changed = []
    for example in EXAMPLES:
        value = example.encoded()
        if not example.path.exists():
            example.path.write_bytes(value)
            print(f"wrote {example.path.name}, {len(value)} bytes")
        elif example.path.read_bytes() != value:
            changed.append(example.path.name)
    for name in changed:
        print(
            f"{name}: today's encoder writes other bytes; keep it and add the new form under a new name",
            file=sys.stderr,
        )

    if not day.RECORDING.exists():
        day.record()
        print("wrote the golden day's recording")
    if options.alerts or not day.STORED.exists():
        now = day.found()
        for line in day.differences(now.alerts, day.stored().alerts if day.STORED.exists() else []):
            print(line)
        day.store(now)
        print(f"wrote {len(now.alerts)} alerts, digest {now.digest}")
    return 1 if changed else 0


if __name__ == "__main__":
    sys.exit(main())
