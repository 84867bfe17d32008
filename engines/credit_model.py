"""The bundle's model of default: gradient-boosted trees and their calibration in one graph, asked row by row.

credit.onnx takes ``features``, float32 (row, F) as `engines.credit.statements` makes them, and gives ``log_odds``,
float32 (row, 1), calibrated; it holds operators that every back end knows. It runs on the reference back end: a call
costs less than the way to a device and back.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import msgspec
import numpy as np
import numpy.typing as npt

from engines.bundle import Bundle, BundleError
from engines.credit import STATEMENT, statements
from engines.inference import ORT_CPU, open_session

GRAPH, SPEC = "credit.onnx", "credit.json"
Floats = npt.NDArray[np.float64]


class CreditSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What credit.json holds.

    ``currency`` is that of the amounts it has learnt, and may be asked of. ``typical`` is the median of those who paid,
    by `STATEMENT`'s columns; bills and payments are shares of the limit there.
    """

    currency: str
    typical: dict[str, float]


class CreditModel:
    """Tells a counterparty's probability of default by the next month's payment.

    Parameters
    ----------
    bundle
        A checked bundle that holds `GRAPH` and `SPEC`; `of` asks whether it does.

    Raises
    ------
    BundleError
        credit.json is malformed, or credit.onnx does not take and give what it should.
    """

    def __init__(self, bundle: Bundle) -> None:
        where = bundle.path / SPEC
        self.spec = bundle.decode(SPEC, CreditSpec)
        if self.spec.typical.keys() != set(STATEMENT):
            raise BundleError(f"{where}: expected typical values of {list(STATEMENT)}, found {list(self.spec.typical)}")
        self.bundle = bundle.id
        #: Stands for both files.
        self.digest = hashlib.sha256(bundle.read(GRAPH) + bundle.read(SPEC)).hexdigest()
        try:
            self.session = open_session(bundle.read(GRAPH), [], [ORT_CPU])
            found: object = self.log_odds({name: np.ones(1) for name in STATEMENT}).shape
        except Exception as error:  # ONNX Runtime's own have no other base
            found = error
        if found != (1,):
            raise BundleError(f"{bundle.path / GRAPH}: expected log odds of (1,) statements, found {found}")

    def log_odds(self, columns: Mapping[str, Floats]) -> Floats:
        """Return the calibrated log odds (n,) of default of `STATEMENT`'s columns, each (n,).

        A row's bits are its own: rows are asked one after the other.
        """
        told = [self.session.run({"features": row[None]})[0] for row in statements(columns).astype(np.float32)]
        return np.array(told, np.float64).reshape(-1)

    def probability(self, columns: Mapping[str, Floats]) -> Floats:
        """Return the probability (n,) of default."""
        return np.asarray(1.0 / (1.0 + np.exp(-self.log_odds(columns))), np.float64)


def of(bundle: Bundle) -> CreditModel | None:
    """Return a bundle's model of default, or None where it has none.

    Raises
    ------
    BundleError
        It has one of the two files without the other, or they are not what they should be.
    """
    return CreditModel(bundle) if bundle.has_both(GRAPH, SPEC) else None
