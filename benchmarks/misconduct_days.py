"""Days with misconduct: simulated, kept, and heard as the daemon hears them.

A market's day is recorded as `tocsin simulate --model agents | queues` records it, and replayed as `tocsin replay
--level rules` replays it: order frames, ticks and words of twenty companies. Under the rules alone the chain hears no
words, so each text is judged once for its instrument by what judges it in the daemon beside its encoder
(`engines.words`), in episodes of its instrument. A case of payments is an economy of `benchmarks.money`: twenty days,
after two months of the usual.

What is recorded is kept under build/bench for as long as what makes it stays as it is, what was heard for as long as
agents and engines do, so that more days, or other detectors, cost only what is new.
"""

from __future__ import annotations

import asyncio
import hashlib
import multiprocessing
import shutil
import sys
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from itertools import product
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec
import numpy as np

from agents.text import words
from benchmarks import money
from engines import episodes
from engines.accounts import DAY_NS
from engines.backtest.matching import alarms
from engines.backtest.results import Opened
from engines.episodes import Episode
from engines.instruments import DEFAULT_SYMBOLS, SymbolMaster
from engines.labels import Label
from engines.simulator import talk
from engines.simulator.day import Config
from engines.transfers import TransferConfig
from engines.words import SPECS, WordsConfig, of_call, of_document
from monitor import label_files
from monitor.demo import made_of
from monitor.recordings import LABELS, Message, Recording
from monitor.replay_history import Course, by_history
from monitor.settings import load
from monitor.simulation import companies_of, write
from monitor.stage import Stages, load_stages
from schemas import codec
from schemas.alerts import Severity
from schemas.journal import RULES_ONLY
from schemas.records import News, TranscriptSegment

Model = Literal["agents", "queues", "payments"]
MODELS: tuple[Model, ...] = ("agents", "queues")
PAYMENTS: Model = "payments"
SEED = 16_101
#: Strength and disguise.
LEVELS = {"full": (1.0, 0.0), "half": (0.5, 0.0), "quarter": (0.25, 0.0), "disguised": (1.0, 0.5)}
AFTER_NS = 600 * 10**9
MONEY_DAYS = 20
CACHE = Path("build/bench/misconduct")


class Case(NamedTuple):
    """A model of order flow, or payments, and how strong and how hidden what is injected is."""

    model: Model
    level: str


CASES = tuple(Case(model, level) for model, level in product((*MODELS, PAYMENTS), LEVELS))


class Played(msgspec.Struct, frozen=True, kw_only=True):
    """A day that was heard: its labels, what rang and what turned critical, and of what and when (ns) it heard.

    Of payments, it is some ``days`` of so many ``accounts``. ``after_ns`` is for how long after its end an event may
    still be found.
    """

    labels: list[Label]
    alarms: list[Opened]
    critical: list[Opened]
    instruments: list[str]
    from_ns: int
    to_ns: int
    accounts: int = 0
    days: int = 1
    after_ns: int = AFTER_NS

    @property
    def subject_days(self) -> int:
        """Instrument-days or, of payments, account-days."""
        return self.days * (self.accounts or len(self.instruments))


@cache
def stages() -> Stages:
    """Return the chain, loaded once a process."""
    return load_stages(load(), lambda _: None, mode="replay")


def recorded(case: Case, seed: int) -> Path:
    """Return the folder of a market's day, made where it is not there yet or was made by other code."""
    strength, disguise = LEVELS[case.level]
    stem = f"{case.model}-{strength:g}-{disguise:g}-{seed}"
    path = CACHE / "days" / f"{stem}-{made_of([stem], None)}"
    if not path.is_dir():
        for old in path.parent.glob(f"{stem}-*"):
            shutil.rmtree(old)
        config = Config(model=case.model, seed=seed, strength=strength, disguise=disguise)  # type: ignore[arg-type]
        write(path, config, companies_of(SymbolMaster.load(DEFAULT_SYMBOLS)), talk=[talk.CLIENT_CALL, *talk.PLAN])
    return path


def heard(case: Case, seed: int) -> Played:
    """Replay a market's day by the rules alone, and judge its words."""
    path = recorded(case, seed)
    recording = Recording.open(path, verify=False)
    instruments: dict[str, None] = {}

    def noted(messages: Iterable[Message]) -> Iterator[Message]:
        for message in messages:
            if message.topic == "frames":
                instruments[message.key.decode()] = None
            yield message

    chain = stages()
    found = asyncio.run(by_history(noted(recording.messages(chain.instrument.topics)), chain, Course(level=RULES_ONLY)))
    said = list(said_in(recording.messages(["news", "transcripts"])))
    return Played(
        labels=list(label_files.read(path / LABELS).labels),
        alarms=[*alarms(found.alerts, "warning"), *first(said)],
        critical=[*alarms(found.alerts, "critical"), *first(one for one in said if one.severity == "critical")],
        instruments=sorted(instruments),
        from_ns=found.first_ns,
        to_ns=found.last_ns,
    )


def said_in(messages: Iterable[Message]) -> Iterator[Opened]:
    """Yield each episode of words as it opens, and again where it turns critical later."""
    running: dict[tuple[str, str], Episode] = defaultdict(Episode)
    for message in messages:
        record = codec.decode(message.topic, message.key, message.value, message.timestamp_ms)
        if isinstance(record, TranscriptSegment):
            found = of_call(WordsConfig(), words(record), record.role)
        elif isinstance(record, News):
            found = of_document(WordsConfig(), words(record), post=record.channel == "post")
        else:
            raise TypeError(f"{message.topic} holds no words")
        episode = running[record.instrument, found.head]
        now, score = np.array([record.ts_event], np.int64), np.array([found.score], np.float64)
        for change in episodes.step(SPECS[found.head], episode, now, score):
            if change.activity != "close":
                yield _opened(
                    found.head,
                    record.instrument,
                    "",
                    episode.opened,
                    record.ts_available,
                    change.severity,
                    change.score,
                )


def first(opened: Iterable[Opened]) -> list[Opened]:
    """Return each episode once, as it was first told."""
    told: dict[str, Opened] = {}
    for one in opened:
        told.setdefault(one.episode_id, one)
    return list(told.values())


def _opened(
    typology: str, instrument: str, account: str, at_ns: int, available_ns: int, severity: Severity, score: float
) -> Opened:
    return Opened(
        episode_id=f"{typology} {instrument} {account} {at_ns}",
        alert_id="",
        typology=typology,
        instrument=instrument,
        account=account,
        opened_ns=at_ns,
        available_ns=available_ns,
        severity=severity,
        score=score,
    )


def paid(case: Case, seed: int) -> Played:
    """Hear the payments of an economy."""
    days = money.simulated(seed, MONEY_DAYS, *LEVELS[case.level])
    return Played(
        labels=days.labels,
        alarms=[
            _opened(one.typology, "accounts", one.account, one.ts, one.ts, "warning", 1.0)
            for one in money.openings(days, TransferConfig())
        ],
        critical=[],
        instruments=["accounts"],
        from_ns=days.from_ns,
        to_ns=days.transfers[-1].ts_available,
        accounts=days.accounts,
        days=MONEY_DAYS,
        after_ns=DAY_NS,
    )


def kept(case: Case, seed: int) -> Played:
    """Return a day from the cache, heard where it is not there."""
    strength, disguise = LEVELS[case.level]
    path = CACHE / code() / f"{case.model}-{strength:g}-{disguise:g}-{seed}.json"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        made = path.with_suffix(".part")
        made.write_bytes(msgspec.json.encode((paid if case.model == PAYMENTS else heard)(case, seed)))
        made.rename(path)
        print(f"heard {path.name}", file=sys.stderr, flush=True)
    return msgspec.json.decode(path.read_bytes(), type=Played)


@cache
def code() -> str:
    """Return 12 hex digits of all that simulates and decides, words and symbols too."""
    root = Path(__file__).parents[1]
    files = sorted(
        path
        for package in ("agents", "engines")
        for path in (root / package).rglob("*")
        if path.suffix in (".py", ".yaml", ".csv")
    )
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:12]


def played(days: int, levels: Collection[str], workers: int, seed: int = SEED) -> dict[Case, list[Played]]:
    """Return ``days`` days (economies, of payments) of each case of the ``levels``, heard by ``workers`` processes.

    Days of a case have seeds that follow one another, cases begin a hundred apart from ``seed`` on.
    """
    numbered = [(number, case) for number, case in enumerate(CASES) if case.level in levels]
    asked = [(case, seed + 100 * number + day) for number, case in numbered for day in range(days)]
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        found = pool.map(kept, *zip(*asked, strict=True))
        by_case: dict[Case, list[Played]] = defaultdict(list)
        for (case, _), day in zip(asked, found, strict=True):
            by_case[case].append(day)
    return by_case
