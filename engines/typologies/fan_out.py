"""Fan-out: an account pays many it never dealt with within hours, far more than it usually meets.

Definition. As fan-in (`engines.typologies.fan_in`), of what the account sends: ``fewest`` or more new counterparties
within ``window_ns``, and ``multiple`` times as many as usual. An employer's payroll goes to those that it paid before.

Regulation. FATF Recommendation 20 and *Professional Money Laundering* (2018); 31 CFR 1020.320; Regulation (EU)
2024/1624 (AMLR, applies from 10 July 2027) Art. 26, 69; Wolfsberg Group, *Statement on Monitoring, Screening and
Searching*."""

from __future__ import annotations

from engines.accounts import DAY_NS
from engines.typologies import TypologySpec, fan_in
from engines.typologies.fan_in import FanInConfig

SCOPE = "account"
SPEC = TypologySpec(
    name="fan_out",
    version="1",
    title="An account pays many strangers",
    regulation=fan_in.SPEC.regulation,
    open=0.5,
    critical=0.9,
    close=0.3,
    hold_ns=DAY_NS,
    momentary=True,
)


class FanOutConfig(FanInConfig, frozen=True, kw_only=True):
    """Parameters, those of fan-in."""


find = fan_in.find
