"""The shipped order-flow model beside the rules, on days that today's simulator makes of the seeds of its test.

    python -m benchmarks.order_flow

An account's day in one instrument rings where its highest score is 0.5 or more. Told is how many rang that were guilty,
and how many that were not, by the rules alone and by both together. About three minutes of CPU.
"""

from __future__ import annotations

import argparse

import numpy as np

from benchmarks import harness
from engines import order_flow
from engines.bundle import DEFAULT, Bundle
from engines.training.order_flow import PARTS, RINGS, TYPOLOGIES, rows_of, scores, simulated

KEYS = ("guilty", "rules", "rules_wrong", "both", "both_wrong")


def main() -> None:
    """Play the days, print a table a model of order flow and the closing JSON."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    model = order_flow.of(Bundle.load(DEFAULT))
    assert model is not None, "the default bundle has an order-flow model"
    told: dict[str, int] = {}
    for part in ("test, agents", "test, queues"):
        rows = rows_of(simulated(part))
        odds = model.log_odds(rows.events.astype(np.float32), rows.beside)
        table: list[tuple[str, list[int]]] = []
        for k, name in enumerate(model.spec.typologies):
            column = TYPOLOGIES.index(name)
            guilty = rows.happened[:, column] == 1
            probability = order_flow.sigmoid(odds[:, k])
            both = scores(rows, probability, column, model.spec.weights[k])
            rings = [score >= RINGS for score in (rows.ruled[:, column], both)]
            counts = [int(np.sum(of)) for ring in rings for of in (ring & guilty, ring & ~guilty)]
            table.append((name, [int(guilty.sum()), *counts]))
        table.append(("all", np.sum([counts for _, counts in table], axis=0).tolist()))
        head = (PARTS[part][0], "guilty", "rules: right", "wrong", "both: right", "wrong")
        title = f"accounts' days in an instrument, of {len(rows.names):,}"
        harness.table(title, head, [(name, *counts) for name, counts in table])
        told |= {f"{PARTS[part][0]}_{key}": n for key, n in zip(KEYS, table[-1][1], strict=True)}
    harness.close(benchmark="order_flow", **told)


if __name__ == "__main__":
    main()
