"""The demo: an embedded broker, the daemon as a child process, a feed, and alerts on the terminal."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import aiohttp
from aiokafka import TopicPartition
from confluent_kafka import Producer
from rich.console import Console
from rich.text import Text

from engines.backtest.matching import alarms, judge
from engines.instruments import DEFAULT_SYMBOLS
from monitor import kafka
from monitor.demo_view import View
from monitor.errors import StartupError
from monitor.feed import Played, play
from monitor.recordings import MANIFEST, Message, Recording
from monitor.settings import load
from schemas import codec
from schemas.alerts import Alert, AlertEvent
from schemas.topics import HISTORY_INPUTS

READY_S = 90.0
#: The daemon may be busy, but not stand still for longer than this.
STILL_S = 60.0
#: The embedded broker forgets what exceeds 5 MB a partition: the feed stays this close to the daemon.
AHEAD_BYTES, AHEAD_MESSAGES = 2_000_000, 1_000
#: The drain's own limit is 20 s.
STOP_S = 25.0
#: The code that makes recordings, under the folder of the rooms.
_MAKERS = (
    "schemas",
    "engines/simulator",
    "engines/simulator/lob",
    "monitor/converters",
    "monitor/recording_writer.py",
    "monitor/recordings.py",
    "monitor/simulation.py",
    "monitor/commands/convert.py",
    "monitor/commands/simulate.py",
)
#: The day that is simulated: as much of order books as goes through in a minute.
_DAY = ("--model", "agents", "--hours", "3", "--instruments", "12", "--ticks-a-second", "6")
_TOCSIN = (sys.executable, "-m", "monitor.cli")
_APPLIED = re.compile(r"^tocsin_messages_total\{.*\} (\S+)$", re.MULTILINE)


class DemoError(Exception):
    """What ended the demo early, in one sentence."""


@dataclass(slots=True)
class Seen:
    """What was counted. ``sent_s`` tells when each message left, by topic without prefix,
    partition and offset (monotonic seconds)."""

    alerts: dict[str, Alert] = field(default_factory=dict)
    revisions: set[tuple[str, int]] = field(default_factory=set)
    doubled: int = 0
    latencies_s: list[float] = field(default_factory=list)
    sent_s: dict[tuple[str, int, int], float] = field(default_factory=dict)

    def take(self, alert: Alert, now_s: float) -> bool:
        """Count an alert; False where its id, or its episode and revision, was there before."""
        revision = (alert.episode_id, alert.revision)
        if alert.alert_id in self.alerts or revision in self.revisions:
            self.doubled += 1
            return False
        self.alerts[alert.alert_id] = alert
        self.revisions.add(revision)
        if alert.activity == "create" and alert.evidence.inputs:
            newest = alert.evidence.inputs[-1]
            topic = newest.topic.rpartition(".")[2]
            if (sent_s := self.sent_s.get((topic, newest.partition, newest.offset))) is not None:
                self.latencies_s.append(now_s - sent_s)
        return True


def run(
    *, data: Path | None, seed: int, seconds: float, most_s: float, limit: int | None, work: Path, picture: Path | None
) -> int:
    """Play a day and return the exit code: 0, 1 where the daemon died or stood still, 130 where a person stopped it."""
    if picture is None:
        console = Console(highlight=False)
    else:
        console = Console(record=True, force_terminal=True, highlight=False, width=120)
    try:
        recording = Recording.open(prepare(console, data, seed, work, limit))
        with _stopping_on_sigterm(), Runner(console, recording, work, seconds, most_s) as demo:
            asyncio.run(demo.play())
            demo.summary()
    except DemoError as error:
        console.print(Text(str(error), style="bold red"))
        return 1
    except KeyboardInterrupt:
        console.print("Stopped: the daemon and the broker are gone.")
        return 130
    if picture is not None:
        # Without the web fonts that Rich names: a picture asks nobody for anything.
        svg = re.sub(r"@font-face \{.*?\}", "", console.export_svg(title="make demo"), flags=re.DOTALL)
        picture.write_text(svg, encoding="utf-8")
    return 0


def prepare(console: Console, data: Path | None, seed: int, work: Path, limit: int | None) -> Path:
    """Return the folder of the recording to play, made where it is not there yet or was made by other code.

    Raises
    ------
    StartupError: ``data`` is no folder.
    DemoError: the recording could not be made.
    """
    if data is not None and (data / MANIFEST).is_file():
        return data
    if data is None:
        stem, command = f"day-{seed}", ["simulate", *_DAY, "--seed", str(seed)]
        console.print(f"A simulated market of order books (tocsin {' '.join(command)})")
    elif data.is_dir():
        stem, command = f"{data.name}{f'-{limit}' if limit else ''}", ["convert", data.name, str(data)]
        command += ["--limit", str(limit)] if limit else []
        console.print(f"Real data: {data} (tocsin convert {data.name} {data})")
    else:
        raise StartupError(
            f"{data} is no folder: expected a recording, or real data such as ../shared/data/pump_trades."
        )
    folder = work / f"{stem}-{made_of(command, data)}"
    if not folder.is_dir():
        for old in work.glob(f"{stem}-*"):
            if re.fullmatch(rf"{re.escape(stem)}-[0-9a-f]{{12}}", old.name):
                shutil.rmtree(old)
        work.mkdir(parents=True, exist_ok=True)
        made = subprocess.run([*_TOCSIN, *command, "--out", str(folder)], stdout=subprocess.DEVNULL, check=False)
        if made.returncode:
            raise DemoError(f"tocsin {command[0]} failed with exit code {made.returncode}; its message stands above.")
    return folder


def made_of(command: list[str], data: Path | None, rooms: Path = Path(__file__).parents[1]) -> str:
    """Return a short digest of what a recording is made of: the command, the code under ``rooms``, what is read."""
    digest = hashlib.sha256(repr(command).encode())
    for path in (*(rooms / maker for maker in _MAKERS), load().symbols or DEFAULT_SYMBOLS):
        for file in sorted(path.glob("*.py")) if path.is_dir() else [path]:
            digest.update(file.read_bytes())
    for file in sorted(data.rglob("*")) if data is not None else ():
        found = file.stat()
        digest.update(repr((str(file), found.st_size, found.st_mtime_ns)).encode())
    return digest.hexdigest()[:12]


@contextmanager
def _stopping_on_sigterm() -> Iterator[None]:
    """Treat SIGTERM as Ctrl-C, so that the daemon is stopped either way."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class Runner:
    """The broker, the daemon and the terminal for one playing of a recording; leaving the ``with`` block stops all."""

    def __init__(self, console: Console, recording: Recording, work: Path, seconds: float, most_s: float) -> None:
        self._console = console
        self._recording = recording
        span_s = (recording.last_ns - recording.first_ns) / 1e9
        self._speed = max(1.0, span_s / seconds)
        self._most_s = most_s
        self._played = Played(total=0)
        self._log = work / "daemon.log"
        self._broker = Producer({"test.mock.num.brokers": "1", "bootstrap.servers": "ignored", "log_level": 0})
        broker = next(iter(self._broker.list_topics(timeout=10).brokers.values()))
        self._settings = load(bootstrap=f"{broker.host}:{broker.port}", prefix="tocsin.", http_port=_free_port())
        self._daemon: subprocess.Popen[bytes] | None = None
        self._seen = Seen()
        self._flow = asyncio.Event()
        self._delivered_bytes = [0]
        self._view = View(console, recording, self._speed)

    def __enter__(self) -> Runner:
        work = self._log.parent
        work.mkdir(parents=True, exist_ok=True)
        environment = os.environ | {
            "TOCSIN_BOOTSTRAP": self._settings.bootstrap,
            "TOCSIN_PREFIX": self._settings.prefix,
            "TOCSIN_HTTP_PORT": str(self._settings.http_port),
            "TOCSIN_CLOCK": "data",
            # A day played many times faster than it happened is no pressure to give way to.
            "TOCSIN_LADDER_DOWN_S": "0",
        }
        environment |= {f"TOCSIN_{setting.upper()}": str(file) for setting, file in self._recording.brought.items()}
        asyncio.run(kafka.create_topics(self._settings))
        with self._log.open("wb") as log:
            # A session of its own: Ctrl-C reaches this process only, which then stops the daemon in order.
            self._daemon = subprocess.Popen(
                [*_TOCSIN, "run"], env=environment, stdout=log, stderr=log, start_new_session=True
            )
        return self

    def __exit__(self, *_: object) -> None:
        daemon = self._daemon
        if daemon is None or daemon.poll() is not None:
            return
        daemon.send_signal(signal.SIGTERM)
        try:
            daemon.wait(STOP_S)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()

    # The playing.

    async def play(self) -> None:
        """Wait for the daemon, feed it the recording, show alerts until all is applied."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as http:
            await self._until_ready(http)
            follower = asyncio.create_task(self._follow())
            watcher = asyncio.create_task(self._watch(http))
            with self._view.live if self._console.is_terminal and not self._console.record else nullcontext():
                await self._first_of(self._feed(), follower, watcher)
                await self._first_of(self._until_applied(), follower, watcher)
            for task in (follower, watcher):
                task.cancel()
            await asyncio.gather(follower, watcher, return_exceptions=True)

    async def _until_ready(self, http: aiohttp.ClientSession) -> None:
        deadline_s = time.monotonic() + READY_S
        while time.monotonic() < deadline_s:
            self._require_daemon()
            with suppress(aiohttp.ClientError, TimeoutError):
                async with http.get(f"{self._address}/readyz") as response:
                    if response.status == 200:
                        return
            await asyncio.sleep(0.1)
        raise DemoError(f"The daemon was not ready within {READY_S:.0f} s; {self._last_words()}")

    async def _feed(self) -> None:
        """Play the recording at the demo's speed and remember when each message left."""
        stop = asyncio.Event()
        if self._most_s:
            asyncio.get_running_loop().call_later(self._most_s, stop.set)
        self._played = await play(
            self._recording,
            self._settings,
            speed=self._speed,
            topics=HISTORY_INPUTS,
            stop=stop,
            flow=self._flow,
            on_delivered=self._left,
            on_progress=self._view.progress,
        )

    def _left(self, message: Message, topic: str, partition: int, offset: int, sent_s: float) -> None:
        self._delivered_bytes.append(self._delivered_bytes[-1] + len(message.value))
        self._hold_or_flow()
        self._seen.sent_s[topic.removeprefix(self._settings.prefix), partition, offset] = sent_s

    def _hold_or_flow(self) -> None:
        delivered = len(self._delivered_bytes) - 1
        applied = min(self._view.applied, delivered)
        ahead_bytes = self._delivered_bytes[delivered] - self._delivered_bytes[applied]
        if ahead_bytes < AHEAD_BYTES and delivered - applied < AHEAD_MESSAGES:
            self._flow.set()
        else:
            self._flow.clear()

    async def _until_applied(self) -> None:
        best, since_s = self._view.applied, time.monotonic()
        while self._view.applied < self._view.sent:
            if self._view.applied > best:
                best, since_s = self._view.applied, time.monotonic()
            elif time.monotonic() - since_s > STILL_S:
                raise DemoError(
                    f"The daemon applied {best:,} of {self._view.sent:,} messages and then none for {STILL_S:.0f} s; "
                    f"{self._last_words()}"
                )
            await asyncio.sleep(0.2)
        # Alerts of the last turn are on their way.
        await asyncio.sleep(1.0)

    async def _follow(self) -> None:
        """Show alerts as they come."""
        async with kafka.reader(self._settings) as consumer:
            topic = kafka.full_name(self._settings.prefix, "alerts")
            partitions = (await kafka.partition_counts(self._settings))[topic]
            consumer.assign([TopicPartition(topic, partition) for partition in range(partitions)])
            while True:
                batches = await consumer.getmany(timeout_ms=100)
                now_s = time.monotonic()
                for record in chain.from_iterable(batches.values()):
                    event = codec.decode("alerts", record.key, record.value, record.timestamp)
                    if isinstance(event, AlertEvent) and self._seen.take(event.data, now_s):
                        self._view.ring(event.data)

    async def _watch(self, http: aiohttp.ClientSession) -> None:
        """Keep an eye on the daemon and on how far it has come."""
        while True:
            self._require_daemon()
            with suppress(aiohttp.ClientError, TimeoutError):
                async with http.get(f"{self._address}/metrics") as response:
                    self._view.applied = int(sum(float(n) for n in _APPLIED.findall(await response.text())))
            self._hold_or_flow()
            await asyncio.sleep(0.2)

    async def _first_of(self, work: Coroutine[Any, Any, None], *others: asyncio.Task[None]) -> None:
        """Await ``work``; an error of the others ends it."""
        task = asyncio.create_task(work)
        done, _ = await asyncio.wait({task, *others}, return_when=asyncio.FIRST_COMPLETED)
        if task not in done:
            task.cancel()
        for finished in done:
            finished.result()

    # What it came to.

    def summary(self) -> None:
        """Print what was caught, missed and false, and what to do next."""
        labels = self._recording.labels()
        if self._played.stopped:
            labels = [label for label in labels if label.end_ns <= self._played.at_ns]
            self._console.print(
                f"\nTold to play for {self._most_s:.0f} s at most, the demo came to message {self._played.position:,}"
                f" of {self._played.total:,}; --most 0 plays all. Events that were not over by then are not judged.",
                soft_wrap=True,
            )
        verdict = judge(labels, alarms(self._seen.alerts.values()))
        self._view.summary(verdict, self._seen.latencies_s, self._seen.doubled, len(self._seen.alerts))
        path = self._recording.path
        self._console.print(
            f"\nThe daemon has drained and the broker is gone; its log is {self._log}.\n"
            f"Again, without a broker:   tocsin replay {path}\n"
            "On your own Kafka:         export TOCSIN_BOOTSTRAP=host:9092; tocsin topics create; tocsin run\n"
            f"and feed it this day:      tocsin feed {path} --speed 60",
            soft_wrap=True,
        )

    @property
    def _address(self) -> str:
        return f"http://127.0.0.1:{self._settings.http_port}"

    def _require_daemon(self) -> None:
        code = self._daemon.poll() if self._daemon else None
        if code is not None:
            raise DemoError(f"The daemon ended with exit code {code}; {self._last_words()}")

    def _last_words(self) -> str:
        lines = self._log.read_text(errors="replace").splitlines()[-5:]
        return f"its log {self._log} ends with:\n" + "\n".join(lines)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
