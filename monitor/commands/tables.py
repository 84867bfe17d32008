"""Tables that several commands print."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from engines.labels import Label
from monitor.recordings import Recording
from monitor.render import clock


def contents(console: Console, recording: Recording, most_labels: int = 40) -> None:
    """Print what is inside a recording: messages a topic, and the labels."""
    table = Table("topic", "messages", "first (UTC)", "last (UTC)", box=None, pad_edge=False, header_style="bold")
    entries = recording.manifest.files.values()
    for topic in recording.topics:
        mine = [entry for entry in entries if entry.topic == topic]
        first, last = min(e.first_ns for e in mine), max(e.last_ns for e in mine)
        table.add_row(topic, f"{recording.rows([topic]):,}", clock(first), clock(last))
    console.print(table)
    labels = recording.labels()
    if labels:
        console.print()
        _labels(console, labels[:most_labels])
        if len(labels) > most_labels:
            console.print(f"… and {len(labels) - most_labels} more labels")
    size = sum(entry.size for entry in entries) / 1e6
    console.print(f"\n{recording.path}: {recording.rows():,} messages, {size:.1f} MB, digest {recording.digest[:12]}")


def damage(console: Console, recording: Recording) -> None:
    """Print what of a recording is not used, a line each; nothing where all of it is."""
    for one in recording.damage:
        console.print(f"[yellow]damaged[/] {escape(str(one))}", soft_wrap=True, highlight=False)


def _labels(console: Console, labels: list[Label]) -> None:
    table = Table("event", "onset (UTC)", "ends", "where", "", box=None, pad_edge=False, header_style="bold")
    for label in labels:
        end = clock(label.end_ns, "%H:%M:%S")
        benign = "benign" if label.benign else ""
        table.add_row(label.typology, clock(label.onset_ns), end, ", ".join(label.instruments), benign)
    console.print(table)
