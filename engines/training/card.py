"""Writes a bundle's model card from its manifest."""

from __future__ import annotations

from collections.abc import Mapping

from engines.bundle import Manifest, Metric, Part

_INTRODUCTION = """\
Reads short financial texts, charts, voices, bars of prices and statements of counterparties, and says how adverse a
text is, how tense a voice, how likely a large move or a default. Made to rank what a person should look at. It is no
advice, no forecast of direction and no proof of misconduct.

Rebuild it with `make bundle`; `manifest.json` beside this card holds the same figures and the digest of every file.
Intervals are 95 % bootstraps. A score is a calibrated probability; calibrated on the data below, nowhere else.
"""

#: The source of an order-flow model that was learnt from recordings.
RECORDED = "recorded order flow"
#: Of each member what it has learnt from, and what it weighs in the fused risk.
_SEEN = {
    "text": ("real posts and news", "learnt, on real days; what it adds stands below"),
    "chart": ("charts that we drew of real days", "learnt, on real days; what it adds stands below"),
    "order_flow": (
        "simulated order books: it never saw a real order",
        "0: it counts beside the rules on orders, by the weights below",
    ),
    "voice": ("simulated voices: it never saw real data", "0: it has no say, and is shown beside alerts"),
    "opinion": ("what analysts found of alerts", "0: it stands on alerts as their probability, and hides none"),
    "credit": ("card holders of one bank in Taiwan in 2005", "0: it speaks of accounts, by itself"),
}

_LIMITS = """\
## Limits

- English only. Texts are cut at 128 tokens; links and @handles are not read.
- The posts' makers give no dates: whether a label speaks of a later event cannot be checked, and posts of one period
  are in every part of the split.
- The labels are one group's opinion of tone. "Bearish" is read here as adverse; a fall is not bad news to every desk.
- Large days are judged on 88 large US stocks in one summer. Bars of seconds, other venues and other assets are further
  away from that than any figure here can say.
- A fused score's shares (log odds with a modality less without it) tell what the model used, not what caused a move.
"""


def render(manifest: Manifest) -> str:
    """Return the card as Markdown."""
    lines = [f"# Model card: {manifest.name}", "", _INTRODUCTION]
    lines += _members(manifest)
    for name, part in manifest.parts.items():
        lines += _part(name, part)
    lines += ["## Made of", "", "| what | stage | origin | licence | window | may train what ships |", "|" + "---|" * 6]
    for source in manifest.lineage:
        allowed = "yes" if source.may_train_what_ships else "no"
        lines.append(
            f"| {source.name} | {source.stage} | {source.origin} | {source.licence} | {source.window} | {allowed} |"
        )
    lines += ["", *(f"- {source.name}: {source.note}" for source in manifest.lineage if source.note), "", _LIMITS]
    return "\n".join(lines).rstrip() + "\n"


def _members(manifest: Manifest) -> list[str]:
    """Return which members there are, what of the world they have seen, and what they weigh."""
    rows = ["| member | has learnt from | weight in the fused risk |", "|---|---|---|"]
    for name in manifest.parts:
        if name != "fusion":
            seen, weight = _SEEN.get(name, ("see below", "see below"))
            if name == "order_flow" and any(source.name == RECORDED for source in manifest.lineage):
                seen = "recordings of orders, of the days below"
            rows.append(f"| {name} | {seen} | {weight} |")
    return [*rows, ""]


def _part(name: str, part: Part) -> list[str]:
    sizes = ", ".join(f"{part_name} {size:,}" for part_name, size in part.split.items())
    lines = [f"## {name}: {part.task}", "", f"Rows: {sizes}. {part.split_rule}", "", *table(part.metrics)]
    return [*lines, "", *(f"- {note}" for note in part.notes), ""]


def table(metrics: Mapping[str, Mapping[str, Metric]]) -> list[str]:
    """Return ``metrics[contender][measure]`` as the lines of a Markdown table."""
    measures = list(dict.fromkeys(measure for row in metrics.values() for measure in row))
    lines = ["| contender | " + " | ".join(measures) + " |", "|" + "---|" * (len(measures) + 1)]
    for contender, row in metrics.items():
        lines.append(f"| {contender} | " + " | ".join(_cell(row.get(measure)) for measure in measures) + " |")
    return lines


def _cell(metric: Metric | None) -> str:
    return "" if metric is None else f"{metric.value:.3f} [{metric.low:.3f}, {metric.high:.3f}]"
