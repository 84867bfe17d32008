"""What a borrower's statements and payment history tell of a default to come, for the two tables that are known.

Sex, marital status, age and citizenship are no features: a bank may not refuse anybody for them. What the daemon hears
of a counterparty is less again (`STATEMENT`): nothing but its credit, its bills and how it paid them.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from schemas.records import Statement

Floats = npt.NDArray[np.float64]

#: Months of delay, newest first; -2 no use of the card, -1 paid in full, 0 the minimum paid.
TAIWAN_DELAYS = ("PAY_0", "PAY_2", "PAY_3", "PAY_4", "PAY_5", "PAY_6")
#: Amounts billed and paid, newest first; all money is in New Taiwan dollars.
TAIWAN_BILLS = tuple(f"BILL_AMT{month}" for month in range(1, 7))
TAIWAN_PAYMENTS = tuple(f"PAY_AMT{month}" for month in range(1, 7))
TAIWAN = ("LIMIT_BAL", "EDUCATION", *TAIWAN_DELAYS, *TAIWAN_BILLS, *TAIWAN_PAYMENTS)
#: What a `schemas.records.Statement` says, by the names of Taiwan's columns.
STATEMENT = ("LIMIT_BAL", *TAIWAN_DELAYS, *TAIWAN_BILLS, *TAIWAN_PAYMENTS)
#: One borrower of so many is kept from what learns the model that ships.
KEPT_BACK = 5
#: A bill below this does not divide: what was paid of nearly nothing says nothing.
LEAST_BILL = 1_000.0

GERMAN_CODES: Mapping[str, tuple[int, ...]] = {
    "STATUS_ACCOUNT": (11, 12, 13, 14),
    "CREDIT_HISTORY": (30, 31, 32, 33, 34),
    "PURPOSE": (40, 41, 42, 43, 44, 45, 46, 48, 49, 410),
    "BONDS": (61, 62, 63, 64, 65),
    "EMPLOYMENT": (71, 72, 73, 74, 75),
    "OTHER_DEBTORS": (101, 102, 103),
    "PROPERTY": (121, 122, 123, 124),
    "INSTALLMENT_PLANS": (141, 142, 143),
    "HOUSING": (151, 152, 153),
    "JOB": (171, 172, 173, 174),
    "TELEPHONE": (191, 192),
}
GERMAN_NUMBERS = (
    "DURATION_MONTHS",
    "AMOUNT",
    "INSTALLMENT_RATE",
    "PRESENT_RESIDENCE_SINCE",
    "NUMBER_OF_CREDIT_CARDS",
    "LIABLE_PEOPLE",
)
GERMAN = (*GERMAN_CODES, *GERMAN_NUMBERS)


def taiwan(columns: Mapping[str, Floats]) -> Floats:
    """Return the features (n, F) of card holders: `TAIWAN`'s columns, each (n,), as in UCI's "Default of Credit Cards".

    They are those of their statements, and their schooling. NaN where a column has it.
    """
    schooling = np.stack([columns["EDUCATION"] == code for code in (1, 2, 3)], 1)
    limit, rest = np.split(statements(columns), [1], 1)
    return np.hstack([limit, schooling, rest])


def statements(columns: Mapping[str, Floats]) -> Floats:
    """Return the features (n, F) of statements: `STATEMENT`'s columns, each (n,).

    Beside the columns themselves: the limit in use, what was paid of the bill before, what was newly spent, and how
    delays add up. NaN where a column has it.
    """
    limit = columns["LIMIT_BAL"][:, None]  # (n, 1)
    delays, bills, payments = (
        np.stack([columns[name] for name in names], 1) for names in (TAIWAN_DELAYS, TAIWAN_BILLS, TAIWAN_PAYMENTS)
    )  # each (n, 6)
    use = np.clip(bills / limit, -1, 3)
    late = np.maximum(delays, 0)
    billed, paid = bills.sum(1), payments.sum(1)
    # What a month's bill exceeds the one before by, once that month's payment is put back.
    spent = bills[:, :5] - bills[:, 1:] + payments[:, :5]
    sums = (
        late.max(1),
        late.sum(1),
        (late > 0).sum(1),
        late[:, :3].mean(1) - late[:, 3:].mean(1),
        use.mean(1),
        use.max(1),
        use[:, 0] - use[:, 5],
        (payments == 0).sum(1),
        np.clip(paid / np.maximum(billed, LEAST_BILL), 0, 5),
        paid / limit[:, 0],
        _squeezed(paid),
        *((delays == code).sum(1) for code in (-2, -1)),
    )
    return np.hstack(
        [
            _squeezed(limit),
            delays,
            *((delays == code) for code in (-1, 0, 1, 2)),
            _squeezed(bills),
            _squeezed(payments),
            use,
            np.clip(payments[:, :5] / np.maximum(np.abs(bills[:, 1:]), LEAST_BILL), 0, 3),
            np.clip(spent / limit, -2, 2),
            _squeezed(bills[:, :5] - payments[:, :5]),
            _squeezed(np.diff(bills, axis=1)),
            np.stack(sums, 1),
        ]
    ).astype(np.float64)


def columns_of(statement: Statement) -> dict[str, Floats]:
    """Return a statement as `STATEMENT`'s columns, each (1,)."""
    values = (statement.limit, *statement.delays, *statement.billed, *statement.paid)
    return {name: np.array([value], np.float64) for name, value in zip(STATEMENT, values, strict=True)}


def rounded(features: Floats) -> Floats:
    """Return features (n, F) to tenths, in which near copies are the same: a tenth is 10 % of an amount."""
    return np.asarray(np.round(np.nan_to_num(features), 1) + 0.0, np.float64)  # no -0.0, whose bytes are others


def kept_back(features: Floats) -> npt.NDArray[np.bool_]:
    """Tell which of the borrowers (n,) the model that ships has not learnt: by what their features (n, F) are.

    Near copies are on one side together.
    """
    return np.array([zlib.crc32(row.tobytes()) % KEPT_BACK == 0 for row in rounded(features)], np.bool_)


def german(columns: Mapping[str, Floats]) -> Floats:
    """Return the features (n, F) of loans: `GERMAN`'s columns, each (n,), "A14" as 14 (Statlog German Credit).

    A code that is not in `GERMAN_CODES` is none of them.
    """
    amount, months = columns["AMOUNT"], columns["DURATION_MONTHS"]
    codes = [columns[name] == code for name, known in GERMAN_CODES.items() for code in known]
    numbers = [columns[name] for name in GERMAN_NUMBERS]
    return np.stack([*codes, *numbers, np.log(amount), np.log(amount / months)], 1).astype(np.float64)


def _squeezed(money: Floats) -> Floats:
    return np.sign(money) * np.log1p(np.abs(money))
