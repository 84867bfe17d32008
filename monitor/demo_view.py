"""What the demo shows: a header that moves with the day, alerts as they ring, and the account at the end."""

from __future__ import annotations

import time
from collections import Counter

import numpy as np
from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from engines.backtest.matching import Verdict
from engines.backtest.results import Opened
from engines.labels import Label
from monitor.feed import Played
from monitor.recordings import Recording
from monitor.render import alert_line, clock
from schemas.alerts import Alert


class View:
    """The terminal. Where it is none (a pipe, a log), alerts are plain lines and nothing moves."""

    def __init__(self, console: Console, recording: Recording, speed: float) -> None:
        self._console = console
        self._first_ns = recording.first_ns
        self._span_ns = max(1, recording.last_ns - recording.first_ns)
        self._form = "%Y-%m-%d %H:%M:%S" if self._span_ns > 86_400 * 10**9 else "%H:%M:%S"
        self._speed = speed
        self._began_s = time.monotonic()
        self._rung: Counter[str] = Counter()
        self.at_ns = self._first_ns
        self.sent = 0
        self.applied = 0
        self.live = Live(
            get_renderable=self._header, console=console, refresh_per_second=8, transient=True, auto_refresh=True
        )

    def progress(self, played: Played) -> None:
        """Take note of how far the feed has come."""
        self.sent, self.at_ns = played.sent, played.at_ns

    def ring(self, alert: Alert) -> None:
        """Show an opening or a worsening; closings are only counted."""
        self._rung[alert.activity] += 1
        if alert.activity != "close":
            line = alert_line(alert, self._form)
            if self._console.is_terminal:
                self._console.print(line, no_wrap=True, overflow="ellipsis")
            else:
                self._console.print(line, soft_wrap=True)

    def _clock(self, ns: int) -> str:
        return clock(ns, self._form)

    def _header(self) -> RenderableType:
        elapsed_s = max(1e-3, time.monotonic() - self._began_s)
        share = (self.at_ns - self._first_ns) / self._span_ns
        top = Table.grid(expand=True, padding=(0, 1))
        top.add_column()
        top.add_column(ratio=1)
        top.add_column(justify="right")
        top.add_row(
            Text(self._clock(self.at_ns), style="bold"), ProgressBar(total=1.0, completed=share), f"{share:4.0%}"
        )
        counts = Text.assemble(
            (f"{self._speed:,.0f}× real time", "cyan"),
            f"   sent {self.sent:,}   applied {self.applied:,} ({self.applied / elapsed_s:,.0f}/s)",
            f"   open {self._rung['create'] - self._rung['close']}   rung {self._rung['create']}",
        )
        return Panel(Group(top, counts), title="tocsin demo", border_style="dim", box=box.ROUNDED)

    def summary(self, verdict: Verdict, latencies_s: list[float], doubled: int, alerts: int) -> None:
        """Print the account against the labels, with what it was measured by."""
        print_ = self._console.print
        print_()
        rows: list[tuple[Label, list[Opened], float | None]] = [
            *((catch.label, catch.opened, catch.delay_s) for catch in verdict.catches),
            *((label, [], None) for label in verdict.missed),
        ]
        if rows:
            table = Table("event", "onset", "instrument", "rang by", "after", box=box.SIMPLE_HEAD, pad_edge=False)
            for label, opened, delay_s in sorted(rows, key=lambda row: (row[0].onset_ns, row[0].event_id)):
                names = ", ".join(dict.fromkeys(one.typology for one in opened))
                first, *others = label.instruments
                table.add_row(
                    label.typology,
                    self._clock(label.onset_ns),
                    f"{first} and {len(others)} more" if others else first,
                    Text(names, style="green") if names else Text("missed", style="red"),
                    "" if delay_s is None else f"{delay_s:+,.0f} s",
                )
            print_(table)
        account = Table.grid(padding=(0, 2))
        if rows:
            exact = sum(catch.own for catch in verdict.catches)
            account.add_row("caught", f"{len(verdict.catches)} of {len(rows)} events, {exact} by their own typology")
            account.add_row("missed", str(len(verdict.missed)))
            account.add_row(
                "false",
                f"{len(verdict.false)} episodes, {sum(bool(stray.bait) for stray in verdict.false)} of them on events "
                f"that only look bad; {len(verdict.notes)} more only inform",
            )
        if latencies_s:
            p50, p99 = np.percentile(latencies_s, [50, 99]) * 1000
            account.add_row(
                "latency",
                f"median {p50:,.0f} ms, p99 {p99:,.0f} ms from message to alert, at {self._speed:,.0f}× real time",
            )
        account.add_row("doubled", f"{doubled} of {alerts} alerts")
        account.add_row("speed", f"{self.applied:,} messages in {time.monotonic() - self._began_s:.0f} s")
        print_(account)
