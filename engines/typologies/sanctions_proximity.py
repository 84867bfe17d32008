"""Sanctions proximity: an account's name resembles a listed one, or it deals with an account whose name does.

Definition. The name of the account, or of one that is at most ``hops`` transfers away within ``window_ns``, has a
similarity of at least ``similarity`` with a name or alias of the user's list (see `engines.names`); one hop away the
names may be half as unlike. What goes either
way counts: paying a listed person is what is forbidden first. A resemblance is no identity: a person decides that.

Regulation. FATF Recommendations 6 and 7 (targeted financial sanctions); 31 CFR Part 501 (OFAC; reports of blocked
property within 10 business days, 501.603); Council Regulations (EC) 881/2002 and (EU) 269/2014 (frozen funds);
Regulation (EU) 2024/1624 (AMLR, applies from 10 July 2027) Art. 20(1)(d); Wolfsberg Group, *Guidance on Sanctions
Screening* (2019) on fuzzy matching.
"""

from __future__ import annotations

import msgspec

from engines.accounts import DAY_NS, Account, Near
from engines.typologies import TypologySpec
from engines.typologies.conditions import Condition
from engines.typologies.patterns import Pattern

SCOPE = "account"
SPEC = TypologySpec(
    name="sanctions_proximity",
    version="1",
    title="A listed name, or money to or from one",
    regulation=("FATF Recommendation 6", "31 CFR 501.603", "AMLR (EU) 2024/1624 Art. 20(1)(d)"),
    open=0.5,
    critical=0.75,
    close=0.3,
    # A resemblance stays what it is: one finding, until nothing has moved for as long.
    hold_ns=30 * DAY_NS,
    momentary=True,
)


class SanctionsConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters.

    | field | unit | meaning |
    |---|---|---|
    | similarity | 0 to 100 | of the names |
    | hops | transfers | to an account of such a name: 1 are those that it dealt with |
    | window_ns | ns | after which a hop is forgotten |
    """

    similarity: float = 82.0
    hops: int = 1
    window_ns: int = 30 * DAY_NS


def nearer(
    config: SanctionsConfig, account: str, known: Near | None, other: Near | None, ts: int, id_: str
) -> Near | None:
    """Return how near an account is to a listed one, that dealt at ``ts`` with one that is as near as ``other``."""
    if known is not None and known.hops and ts - known.ts > config.window_ns:
        known = None
    if other is None or other.hops >= config.hops or (other.hops and ts - other.ts > config.window_ns):
        return known
    if account in other.path or (known is not None and known.hops <= other.hops):
        return known
    path, ids = (account, *other.path), (id_, *other.transfers)
    return Near(other.hops + 1, ts, other.similarity, other.listed, path, ids)


def find(config: SanctionsConfig, account: Account, now_ns: int, id_: str) -> Pattern | None:
    """Return the listed account that one is, or that the transfer ``id_`` brought it near to; None if there is none."""
    near = account.near
    if near is None or (near.hops and near.transfers[0] != id_):
        return None
    # The unlikeness is what must be small: a name that is the listed one is beyond doubt, not at 100 / 82.
    most = (100 - config.similarity) / (near.hops + 1)
    return Pattern(
        near.ts or now_ns,
        (
            Condition("unlikeness of the names", 100 - near.similarity, most, "of 100", at_most=True),
            Condition(
                "transfers to the listed name", float(near.hops + 1), float(config.hops + 1), "hops + 1", at_most=True
            ),
        ),
        near.transfers or (id_,),
        near.path if near.hops else (),
        f"{near.path[-1]} resembles {near.listed} ({near.similarity:.0f} of 100)",
    )
