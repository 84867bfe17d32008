"""What is written and said in a simulated market: headlines, posts and sentences of calls, from templates.

Slots: {name} a company's name, {alias} another, {tag} its cashtag, {other}, {third} further companies, and the lists of
`FILL`. Every text is made for the simulator; none is quoted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np

Tone = Literal["bearish", "neutral", "bullish"]

NEWS: dict[Tone, tuple[str, ...]] = {
    "bearish": (
        "{name} cuts full-year {metric} outlook after {trouble}",
        "{name} shares slide as {agency} opens inquiry into {practice}",
        "{name} misses {quarter} estimates as {metric} falls {percent}%",
        "{name} warns of weaker demand and suspends dividend",
        "{name} loses {region} contract worth ${amount} million to {other}",
        "{name} discloses material weakness in {practice}, delays filing",
        "{name} recalls products after {trouble}; analysts cut targets",
        "Downgrade: broker moves {name} to sell on falling {metric}",
        "{name} chief financial officer resigns amid questions over {practice}",
        "{name} to cut {count} jobs as losses widen",
    ),
    "neutral": (
        "{name} to present at {place} conference next week",
        "{name} names new head of {region} operations",
        "{name} schedules {quarter} results for the end of the month",
        "{name} and {other} renew supply agreement on unchanged terms",
        "{name} completes move of its {region} office",
        "{name} files annual report with no changes to outlook",
        "{name} holds annual meeting, all resolutions carried",
        "{name} board confirms previously announced timetable",
        "{name} to replace {other} in sector index at month end",
        "{name} publishes sustainability report",
    ),
    "bullish": (
        "{name} raises full-year {metric} guidance on strong {region} demand",
        "{name} beats {quarter} estimates as {metric} climbs {percent}%",
        "{name} wins ${amount} million {region} contract",
        "{name} announces ${amount} million share buyback and lifts dividend",
        "Upgrade: broker lifts {name} to buy, sees {metric} accelerating",
        "{name} and {other} sign long-term partnership in {region}",
        "{name} reports record {metric} for {quarter}",
        "Regulator clears {name} product after successful trial",
    ),
}
MARKET_NEWS: dict[Tone, tuple[str, ...]] = {
    "bearish": (
        "Stocks slip as {region} data disappoint and yields rise",
        "Risk appetite fades as traders brace for weaker {metric}",
    ),
    "neutral": (
        "Stocks little changed ahead of central bank minutes",
        "Volumes thin as {place} markets observe a holiday",
        "Exchange publishes calendar for the coming quarter",
        "Futures flat before the open",
    ),
    "bullish": (
        "Stocks climb as {region} data beat forecasts",
        "Broad rally lifts all sectors as inflation cools",
    ),
}
THREE: dict[Tone, tuple[str, ...]] = {
    "bearish": ("{name}, {other} and {third} fall as suppliers report {trouble}",),
    "neutral": (
        "Sector in brief: {name}, {other} and {third} to report this week",
        "{name}, {other} and {third} join industry working group",
    ),
    "bullish": ("{name}, {other} and {third} gain on hopes of stronger {region} demand",),
}
BODIES: dict[Tone, tuple[str, ...]] = {
    "bearish": (
        "Management said {metric} would fall short of earlier targets. Several holders reduced their positions.",
        "The company gave no date for a recovery and withdrew its previous forecast.",
        "Analysts described the update as worse than expected and cut estimates for {quarter}.",
    ),
    "neutral": (
        "The company gave no further details.",
        "No financial terms were disclosed.",
        "The announcement does not change the outlook for {quarter}.",
    ),
    "bullish": (
        "Management said orders were ahead of plan and expects {metric} to keep growing.",
        "Analysts raised estimates for {quarter} after the announcement.",
        "The company expects the effect on {metric} from {quarter} on.",
    ),
}
POSTS: dict[Tone, tuple[str, ...]] = {
    "bearish": (
        "trimming {tag} here, chart looks heavy",
        "{tag} breaking support on volume, staying away",
        "not liking the {metric} trend at {tag}",
        "{tag} guidance was weak, puts are working",
    ),
    "neutral": (
        "watching {tag} into the close",
        "{tag} flat again, nothing to do",
        "anyone following {tag} and {other_tag} today?",
        "{tag} volume about average so far",
        "what time is the {name} call?",
        "{tag} {other_tag} {third_tag} on my list this week",
        "good morning traders, coffee first",
        "quiet tape today",
    ),
    "bullish": (
        "added some {tag} on the dip",
        "{tag} holding up well, like the setup",
        "{tag} {metric} story is underrated",
        "nice breakout on {tag}, trailing my stop",
    ),
}
PUMP_WARNING = (
    "get ready, next signal in {minutes} minutes, have your cash in place",
    "big one coming today, low float, do not miss it",
    "{minutes} minutes left until the call, expect a strong move",
    "team is ready, this one goes far, stay online",
)
PUMP_CALL = (
    "{tag} {tag} {tag} buy now and hold, target +{percent}%",
    "the signal is {tag}, everyone in, rocket time",
    "{tag} to the moon, buy buy buy, do not sell early",
    "{tag} is running, huge news coming, last chance to get in",
    "just bought more {tag}, this will double today",
)
CALL: dict[Tone, tuple[str, ...]] = {
    "bearish": (
        "{metric} came in below our plan, and we expect the pressure to last into {quarter}.",
        "We had to take an impairment related to {trouble}.",
        "Pricing in {region} has been weaker than we had hoped.",
        "We are withdrawing the outlook that we gave you in {quarter}.",
    ),
    "neutral": (
        "Let me walk you through the numbers for the quarter.",
        "Before we begin, today's remarks contain forward-looking statements.",
        "I will now hand over to our chief financial officer.",
        "Thank you for the question, let me take that in two parts.",
        "Our headcount in {region} is about where it was a year ago.",
        "The tax rate should be in the usual range.",
        "Operator, next question, please.",
        "Capital expenditure was in line with what we said at {place}.",
    ),
    "bullish": (
        "{metric} grew {percent} percent, ahead of our own plan.",
        "Demand in {region} has never been stronger.",
        "We are raising the outlook for {quarter}.",
        "The order book gives us good visibility, and margins are improving.",
    ),
}
FILL: dict[str, tuple[str, ...]] = {
    "metric": ("revenue", "operating margin", "bookings", "cash flow", "earnings", "order intake"),
    "trouble": ("supply disruptions", "a plant outage", "quality problems", "a cyber incident", "rising input costs"),
    "agency": ("the regulator", "the prosecutor", "the exchange", "the competition authority"),
    "practice": ("accounting practices", "revenue recognition", "internal controls", "sales incentives"),
    "quarter": ("first-quarter", "second-quarter", "third-quarter", "fourth-quarter"),
    "region": ("European", "Asian", "domestic", "Latin American", "Nordic"),
    "place": ("Frankfurt", "London", "Singapore", "Chicago", "Toronto"),
}
_SPOKEN = {
    "quarter": ("the first quarter", "the second quarter", "the third quarter", "the fourth quarter"),
    "region": ("Europe", "Asia", "our home market", "Latin America", "the Nordics"),
}
_SLOT = re.compile(r"\{(\w+)\}")
_COMPANY_SLOTS = {"name": 0, "alias": 0, "tag": 0, "other": 1, "other_tag": 1, "third": 2, "third_tag": 2}


@dataclass(frozen=True, slots=True)
class Company:
    """A listed company: instrument key, ticker and the name that texts use."""

    instrument: str
    symbol: str
    name: str


@dataclass(frozen=True, slots=True)
class Text:
    """A text and the indices of the companies that it names, in the order given."""

    text: str
    named: tuple[int, ...]


def write(
    rng: np.random.Generator,
    template: str,
    companies: list[Company],
    cast: tuple[int, ...],
    *,
    spoken: bool = False,
    **given: str,
) -> Text:
    """Fill a template. ``cast`` are the companies that its slots may name, in the order name, other, third."""
    named: dict[int, None] = {}

    def fill(match: re.Match[str]) -> str:
        slot = match[1]
        if slot in given:
            return given[slot]
        if slot in _COMPANY_SLOTS:
            index = cast[_COMPANY_SLOTS[slot]]
            named[index] = None
            company = companies[index]
            return f"${company.symbol}" if slot.endswith("tag") else company.name
        if slot in ("percent", "count", "amount", "minutes"):
            return str(int(rng.integers(2, 40)) * (10 if slot in ("count", "amount") else 1))
        options = _SPOKEN[slot] if spoken and slot in _SPOKEN else FILL[slot]
        return options[int(rng.integers(len(options)))]

    text = _SLOT.sub(fill, template)
    return Text(text[:1].upper() + text[1:] if spoken else text, tuple(named))


def pick(rng: np.random.Generator, options: tuple[str, ...]) -> str:
    """Return one of the options."""
    return options[int(rng.integers(len(options)))]


def tone(rng: np.random.Generator, bearish: float, bullish: float) -> Tone:
    """Return a tone; what is neither bearish nor bullish (probabilities) is neutral."""
    draw = rng.random()
    return "bearish" if draw < bearish else "bullish" if draw < bearish + bullish else "neutral"
