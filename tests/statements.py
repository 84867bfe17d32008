"""Statements of counterparties for tests: one that pays, one that does not, and the model that ships."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec

from engines.accounts import DAY_NS
from engines.bundle import DEFAULT, Bundle
from engines.credit_model import CreditModel
from monitor.converters.messages import record_message
from monitor.recordings import Message
from schemas.records import Statement
from tests.payments import T0

#: Every month all was paid of a bill that is a tenth of the limit.
PAYS: dict[str, Any] = {"limit": 200_000.0, "billed": [20_000.0] * 6, "paid": [20_000.0] * 6, "delays": [-1] * 6}
#: Up to the limit, nothing paid for three months.
OWES: dict[str, Any] = {
    "limit": 20_000.0,
    "billed": [20_400.0, 19_900.0, 19_500.0, 19_000.0, 18_000.0, 17_500.0],
    "paid": [0.0, 0.0, 0.0, 1_000.0, 1_000.0, 1_000.0],
    "delays": [3, 2, 2, 0, 0, 0],
}


@cache
def model() -> CreditModel:
    """Return the default bundle's model of default."""
    return CreditModel(Bundle.load(DEFAULT))


def statement(month: int, fields: dict[str, Any], account: str = "C1", **changes: Any) -> Statement:
    """Return an account's statement of a month after `tests.payments.T0`, known 2 ms later."""
    ts = T0 + 30 * DAY_NS * month
    of = Statement(
        ts_event=ts,
        ts_available=ts + 2_000_000,
        statement_id=f"{account}_{month}",
        account=account,
        currency="TWD",
        **fields,
    )
    return msgspec.structs.replace(of, **changes)


def stated() -> list[Message]:
    """Return statements of three accounts as a feed sends them, one of which holds five months of bills only."""
    rows = [
        statement(0, PAYS),
        statement(0, OWES, account="P5", ts_event=T0 + DAY_NS, ts_available=T0 + DAY_NS),
        statement(0, PAYS, account="C2", billed=[1.0] * 5, ts_available=T0 + 2 * DAY_NS),
        statement(1, OWES),
    ]
    made = [record_message("statements", one) for one in rows]
    return [Message(m.topic, m.key, m.value, m.ts_event, m.ts_available, m.ts_available // 10**6) for m in made]
