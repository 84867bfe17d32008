"""Write the bytes of examples that have none yet: ``python -m tests.golden.write``.

What is there is never written again: messages of that form lie in topics and recordings.
"""

from __future__ import annotations

import sys

from tests.golden.examples import EXAMPLES, MESSAGES


def main() -> int:
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
    return 1 if changed else 0


if __name__ == "__main__":
    sys.exit(main())
