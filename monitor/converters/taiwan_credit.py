"""Default of credit card clients (Taiwan 2005) → statements, and who defaulted as labels.

Input: ``taiwan_default.parquet``, a row for each card holder: LIMIT_BAL, and of September back to April 2005 PAY_0,
PAY_2 … PAY_6 (months late), BILL_AMT1 … 6 and PAY_AMT1 … 6, all money in New Taiwan dollars;
default.payment.next.month is 1 where October's payment was not made. Sex, age, marital status and schooling stay there.

Only those are taken that the bundle's model has not learnt (`engines.credit.kept_back`). Months are all that the table
says of time: statements are of the end of September in Taipei, a default is known at the end of October.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from engines.credit import STATEMENT, TAIWAN_BILLS, TAIWAN_DELAYS, TAIWAN_PAYMENTS, kept_back, statements
from engines.labels import Label
from engines.typologies import counterparty_default
from monitor.converters.conversion import Made, Report, choose, require
from monitor.converters.messages import record_message
from monitor.errors import StartupError
from schemas.records import Statement
from schemas.topics import ACCOUNTS

FILE = "taiwan_default.parquet"
_DEFAULT = "default.payment.next.month"
_TAIPEI = ZoneInfo("Asia/Taipei")
STATED_NS, KNOWN_NS = (int(datetime(2005, month, 1, tzinfo=_TAIPEI).timestamp()) * 10**9 for month in (10, 11))


def read(data: Path, events: Collection[str], limit: int | None, report: Report) -> Made:
    """Read the statements; ``events`` are accounts (``TW`` and the row's number), ``limit`` takes the first rows."""
    require(data, FILE)
    try:
        table = pq.read_table(data / FILE, columns=[*STATEMENT, _DEFAULT])
    except (pa.ArrowInvalid, OSError) as error:
        raise StartupError(f"{data / FILE} cannot be read ({str(error).splitlines()[0]}); fetch it again.") from error
    columns = {name: table[name].to_numpy().astype(np.float64) for name in table.column_names}
    rows = np.flatnonzero(kept_back(statements(columns))).tolist()
    report.read = table.num_rows
    report.aside["which the bundle's model has learnt"] = table.num_rows - len(rows)
    known = {f"TW{row:05}": row for row in rows}
    choose(events, known, data / FILE)
    taken = {account: row for account, row in known.items() if not events or account in events}
    taken = dict(list(taken.items())[:limit])
    report.aside["which were not asked for"] = len(known) - len(taken)
    report.kept = len(taken)
    report.notes += [
        "Of time the table says months alone: statements are of the end of September 2005 and known at once, a default"
        " is known at the end of October.",
        "All are of the months that the bundle's model learnt of other card holders: a replay is asked for"
        " --allow-overlap.",
    ]
    return Made(
        messages=(
            record_message("statements", _statement(account, {name: columns[name].item(row) for name in STATEMENT}))
            for account, row in taken.items()
        ),
        last_ns=STATED_NS,
        parameters={"accounts": len(taken)},
        labels=[_label(account) for account, row in taken.items() if columns[_DEFAULT][row]],
    )


def _statement(account: str, of: dict[str, float]) -> Statement:
    return Statement(
        ts_event=STATED_NS,
        ts_available=STATED_NS,
        statement_id=f"{account}_2005-09",
        account=account,
        currency="TWD",
        limit=of["LIMIT_BAL"],
        billed=[of[name] for name in TAIWAN_BILLS],
        paid=[of[name] for name in TAIWAN_PAYMENTS],
        delays=[int(of[name]) for name in TAIWAN_DELAYS],
    )


def _label(account: str) -> Label:
    return Label(
        event_id=f"{account}_2005-10",
        typology=counterparty_default.SPEC.name,
        start_ns=STATED_NS,
        onset_ns=STATED_NS,
        end_ns=KNOWN_NS,
        instruments=[ACCOUNTS],
        accounts=[account],
        public_ns=KNOWN_NS,
    )
