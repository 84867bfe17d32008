"""Conditions in a report: a bound that may not be passed is met by what lies below it."""

from __future__ import annotations

import msgspec
import numpy as np

from monitor.report import conditions, inks
from monitor.report.page import Plot, Table
from schemas.alerts import AlertEvent, RuleResult
from tests.golden.examples import EXAMPLES


def test_what_may_be_at_most_so_much_is_drawn_as_met_where_it_is_less() -> None:
    alert = next(example.record.data for example in EXAMPLES if isinstance(example.record, AlertEvent))
    rules = [
        RuleResult(name="taken", value=4.0, threshold=2.0, unit="median depths"),
        RuleResult(name="wait", value=5.0, threshold=20.0, unit="s", at_most=True),
        RuleResult(name="never", value=1e-9, threshold=1.0, unit="share", at_most=True),
    ]
    alert = msgspec.structs.replace(alert, explanation=msgspec.structs.replace(alert.explanation, rules=rules))
    plot, table = conditions.rules(alert, "a", drawn=True)
    assert isinstance(plot, Plot)
    assert isinstance(table, Table)
    (bars,) = plot.figure.data
    assert list(bars.y) == ["never", "wait", "taken"]
    assert np.allclose(2.0 ** np.array(bars.x, float), [1000, 4, 2], rtol=0.01)
    assert set(bars.marker.color) == {inks.CRITICAL.light}
    assert "highest is never" in plot.alt
    assert [row[2] for row in table.rows] == ["≥ 2", "≤ 20", "≤ 1"]
