"""Shards: a recording replayed by several processes, of this machine or a cluster, a group of instruments each.

    day             1        2        3                          market
    shard 0   ──► part ──► part ──► part ──┐
    shard 1   ──► part ──► part ──► part ──┼─► alerts, openings ──► market stage
    shard 2   ──► part ──► part ──► part ──┘   merged in canonical order

State of the instrument scope belongs to one key, so keys can be dealt out; what several instruments have to do with
each other is the market stage's, which hears of the merged openings. A shard goes day by day: what a part hands to the
next is the place that it came to in the stream (`monitor.history.Place`) and the packed states, as a checkpoint has
them. So a part that was lost with its process or machine is run again from where its day began, and no warm-up is
guessed at. Ray carries parts to workers and their results back.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import os
import secrets
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from agents.instrument_state import InstrumentState
from engines.thinning import Thinner
from monitor.errors import StartupError
from monitor.history import HORIZON_NS, Place
from monitor.recording_format import code_version
from monitor.recording_writer import DAY_NS, day_of
from monitor.recordings import Damaged, Recording
from monitor.replay_history import Course, accounts_of, instruments, market_of
from monitor.replay_range import Range, span_of
from monitor.replay_run import Loaded, brought, load, published
from monitor.replay_writer import Pieces, ReplayWriter
from monitor.replayed import Replayed
from monitor.settings import Settings
from monitor.state import State, StateTable
from schemas.alerts import Alert
from schemas.journal import RULES_ONLY, Decides
from schemas.records import DeadLetter, Opening
from schemas.topics import FRAMED

#: How often a part whose process or machine was lost is begun again.
RETRIES = 3
#: What a frame costs beside its bytes, what another message does, and one that a model is asked about: in bytes of a
#: frame that take as long.
FRAME_COST, MESSAGE_COST, ASKED_COST = 36_000, 8_000, 800_000
ASKED = frozenset({"news", "transcripts", "audio"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What every part of a replay has in common."""

    settings: Settings
    recording: str
    digest: str
    damaged: Damaged
    wanted: Range
    level: int
    decides: Decides
    version: str
    written: bool


@dataclass(frozen=True, slots=True)
class Carried:
    """What a part hands to the next of its shard: where the stream was left, states as in a checkpoint, by key."""

    place: Place
    states: Mapping[str, bytes] = field(default_factory=dict)
    thinner: Thinner | None = None


class _Records(msgspec.Struct):
    alerts: list[Alert]
    openings: list[Opening]
    dead_letters: list[DeadLetter]


@dataclass(frozen=True, slots=True)
class Found:
    """What a part found: counts, and records as JSON, for what is pickled would not be written out as it was.

    ``pieces`` is for the replay's folder, if one is written, ``moments`` counts what triage judged.
    """

    counts: Replayed
    records: bytes
    pieces: Pieces
    moments: int
    set_aside: Counter[str]
    shed: Counter[str]

    def replayed(self) -> Replayed:
        """Return counts and records together."""
        told = msgspec.json.decode(self.records, type=_Records)
        return replace(self.counts, alerts=told.alerts, openings=told.openings, dead_letters=told.dead_letters)


def job_of(
    settings: Settings, recording: Recording, loaded: Loaded, wanted: Range, level: int, *, written: bool
) -> Job:
    """Return what the parts of this replay are to know; ``written``: a folder will be made of it."""
    # Where a worker stands is its own affair.
    paths = {name: value.absolute() for name, value in settings if isinstance(value, Path)}
    local = "://" not in recording.path
    return Job(
        settings=settings.model_copy(update=paths),
        recording=str(Path(recording.path).absolute()) if local else recording.path,
        digest=recording.digest,
        damaged="skip" if recording.damage else "refuse",
        wanted=wanted,
        level=level,
        decides=_decides(loaded),
        version=code_version(),
        written=written,
    )


def _decides(loaded: Loaded) -> Decides:
    about = loaded.stages.about
    return Decides(about["bundle"], about["config"])


def deal(weights: Mapping[bytes, float], shards: int) -> list[frozenset[bytes]]:
    """Deal keys out to shards, the heaviest first, each to the lightest so far; empty shards are left out.

    Example
    -------
    >>> [sorted(keys) for keys in deal({b"A": 5, b"B": 3, b"C": 3, b"D": 1}, 2)]
    [[b'A', b'D'], [b'B', b'C']]
    """
    dealt: list[tuple[float, set[bytes]]] = [(0.0, set()) for _ in range(shards)]
    for key in sorted(weights, key=lambda key: (-weights[key], key)):
        lightest = min(range(shards), key=lambda number: dealt[number][0])
        weight, keys = dealt[lightest]
        keys.add(key)
        dealt[lightest] = weight + weights[key], keys
    return [frozenset(keys) for _, keys in dealt if keys]


def weigh(recording: Recording, topics: Sequence[str], level: int) -> dict[bytes, float]:
    """Return about how long the messages of each key take, in any unit."""
    weights: dict[bytes, float] = {}
    for topic in topics:
        asked = topic in ASKED and level < RULES_ONLY
        cost = ASKED_COST if asked else FRAME_COST if topic in FRAMED else MESSAGE_COST
        for key, (count, size) in recording.keys(topic).items():
            weights[key] = weights.get(key, 0.0) + count * cost + size
    return weights


def seams(recording: Recording, topics: Sequence[str], wanted: Range) -> list[int]:
    """Return the midnights (ns UTC) at which a shard's state is handed on: those with messages on either side."""
    first_ns, last_ns = span_of(recording, topics)
    begin_ns, end_ns = max(first_ns, wanted.start_ns), min(last_ns, wanted.to_ns or last_ns)
    days = {
        day_of(at_ns)
        for entry in recording.manifest.files.values()
        if entry.topic in topics and entry.rows
        for at_ns in (entry.first_ns, entry.last_ns)
    }
    midnights = (day * DAY_NS for day in sorted(days))
    # What a frame's end says of its beginning is read on from a seam.
    return [at_ns for at_ns in midnights if begin_ns < at_ns < end_ns - HORIZON_NS]


def part(job: Job, keys: frozenset[bytes], carried: Carried | None, stop_ns: int) -> tuple[Found, Carried]:
    """Replay a shard from where ``carried`` says (None: its beginning) to the clock before ``stop_ns`` (0: its end).

    Raises
    ------
    StartupError
        Here is another recording, bundle, configuration or release than where the replay was asked for.
    """
    began_s = time.process_time()
    recording, loaded = _opened(job)
    loaded.set_aside.clear()
    loaded.shed.clear()
    wanted, topics = job.wanted, loaded.stages.instrument.topics
    place = carried.place if carried else Place(wanted.start_ns)
    table: StateTable[State] = StateTable(
        {key: InstrumentState.unpack(state) for key, state in carried.states.items()} if carried else {}
    )
    until_ns = 0 if stop_ns else wanted.until_ns(span_of(recording, topics)[1])
    thinner = carried.thinner if carried else None
    judged = thinner.seen if thinner else 0
    with ExitStack() as stack:
        writer = None
        if job.written:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tocsin-"))) / "part"
            writer = stack.enter_context(
                ReplayWriter(folder, specs=loaded.stages.specs, thinner=thinner, canonical=True)
            )
        replayed = Replayed(writer, table=table)
        stopped = asyncio.run(
            instruments(
                recording.messages(topics, place.from_ns or None, wanted.read_ns, keys),
                loaded.stages,
                replayed,
                Course(end_ns=wanted.to_ns, until_ns=until_ns, level=job.level, since=place, stop_ns=stop_ns),
            )
        )
        pieces = writer.pieces(last=not stop_ns) if writer is not None else {}
        moments = writer.moments - judged if writer is not None else 0
        thinner = writer.thinner if writer is not None else None
    states = {key: state.pack() for key, state in table.items()} if stop_ns else {}
    # A stream that ended before the seam goes on, with nothing, from there.
    onward = Carried(stopped or Place(stop_ns, clock_ns=replayed.clock_ns), states, thinner)
    records = msgspec.json.encode(_Records(replayed.alerts, replayed.openings, replayed.dead_letters))
    counts = replace(
        replayed,
        sink=None,
        table=StateTable(),
        witness=None,
        alerts=[],
        openings=[],
        dead_letters=[],
        elsewhere_s=time.process_time() - began_s,
    )
    return Found(counts, records, pieces, moments, Counter(loaded.set_aside), Counter(loaded.shed)), onward


_here: tuple[bytes, Recording, Loaded] | None = None


def _opened(job: Job) -> tuple[Recording, Loaded]:
    """Return the recording and what replays it, kept from one part to the next that this process runs."""
    global _here
    told = msgspec.json.encode([job.settings.model_dump(mode="json"), job.recording, job.digest, job.version])
    if _here is None or _here[0] != told:
        if (found := code_version()) != job.version:
            raise StartupError(
                f"Tocsin is {found} at a worker and {job.version} here: install the same release on all."
            )
        recording = Recording.open(job.recording, verify=job.damaged == "skip", damaged=job.damaged)
        if recording.digest != job.digest:
            raise StartupError(
                f"{job.recording} has the digest {recording.digest[:12]}… at a worker and {job.digest[:12]}… here:"
                " name a place that all workers share."
            )
        rules = asyncio.run(published(job.settings, recording))
        loaded = load(brought(job.settings, recording), rules=rules)
        if (decides := _decides(loaded)) != job.decides:
            raise StartupError(
                f"Bundle {decides.bundle} decides by {decides.config[:12]}… at a worker, {job.decides.bundle} by"
                f" {job.decides.config[:12]}… here: give all workers the same bundle, symbols, labels and rules."
            )
        gc.collect()
        gc.freeze()
        _here = told, recording, loaded
    return _here[1], _here[2]


def replay(
    cluster: Cluster,
    job: Job,
    recording: Recording,
    loaded: Loaded,
    *,
    shards: int,
    writer: ReplayWriter | None = None,
    progress: Callable[[float, float | None], None] = lambda done, of: None,
) -> Replayed:
    """Replay a recording's range in canonical order; what comes of it is what comes of it in one process.

    Parameters
    ----------
    shards
        Groups of instruments; 0: as many as the cluster has processors.
    writer
        Takes what is written to the replay's folder.
    progress
        Is told how many parts are done, and of how many.

    Raises
    ------
    StartupError
        A part was lost more than `RETRIES` times, or cannot be run where it was sent.
    """
    ray, topics = cluster.ray, loaded.stages.instrument.topics
    weights = weigh(recording, topics, job.level)
    mine = {key: weight for key, weight in weights.items() if job.wanted.wants(key.decode("utf-8", "replace"))}
    stops = [*seams(recording, topics, job.wanted), 0]
    # A worker's process is given one part after another, and keeps its models.
    run = ray.remote(num_cpus=1, max_retries=RETRIES, num_returns=2)(part)
    there = ray.put(job)
    parts = []
    for keys in deal(mine, shards or cluster.processors):
        carried: Any = None
        for stop_ns in stops:
            result, carried = run.remote(there, keys, carried, stop_ns)
            parts.append(result)
    whole = Replayed(writer)
    try:
        # In the order of their making, whichever is done first: so rows always stand in the folder.
        for number in range(len(parts)):
            # What has been taken is let go of, here and by Ray.
            result, parts[number] = parts[number], None
            found: Found = ray.get(result)
            whole.add(found.replayed())
            loaded.set_aside.update(found.set_aside)
            loaded.shed.update(found.shed)
            if writer is not None:
                writer.absorb(found.pieces, found.moments)
            progress(number + 1, len(parts))
    except ray.exceptions.RayTaskError as error:
        raise error.cause if isinstance(error.cause, StartupError) else error from None
    except ray.exceptions.RayError as error:
        raise StartupError(
            f"A part was lost {RETRIES + 1} times over ({str(error).splitlines()[0]}): look at what ends Ray's workers,"
            " most often the want of memory; fewer --shards take less of it."
        ) from error
    run_id = loaded.stages.run_id
    whole.alerts = [
        msgspec.structs.replace(alert, provenance=msgspec.structs.replace(alert.provenance, run_id=run_id))
        for alert in sorted(whole.alerts, key=lambda alert: (alert.times.available_at, alert.alert_id))
    ]
    if not job.wanted.instruments:
        wanted, account = job.wanted, loaded.stages.account
        transfers = recording.messages(account.topics, wanted.start_ns or None, wanted.to_ns or None)
        asyncio.run(accounts_of(transfers, whole, loaded.stages, end_ns=wanted.to_ns, level=job.level))
        asyncio.run(market_of(whole, loaded.stages))
    return whole


@dataclass(frozen=True, slots=True)
class Cluster:
    """Ray, connected to a cluster, and how many processors that has."""

    ray: Any
    processors: int


@contextmanager
def connected(address: str, workers: int) -> Iterator[Cluster]:
    """Connect to a cluster of Ray.

    Parameters
    ----------
    address
        As Ray takes it; "" starts one on this machine, for as long as this takes.
    workers
        Processes of such a one; 0: as many as the machine has processors.

    Raises
    ------
    StartupError
        Ray is not installed, or no cluster answers.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would tell its makers
    if not address:
        os.environ.setdefault("RAY_worker_niceness", "0")  # they do what this process would
        # Its ports are open to whoever reaches this machine: nobody else knows the word.
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    try:
        ray = importlib.import_module("ray")
    except ImportError as error:
        raise StartupError("--shards needs Ray: install the extra `ray` (pip install 'tocsin[ray]').") from error
    here = (
        {}
        if address
        else {"num_cpus": workers or os.cpu_count() or 1, "include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    )
    try:
        ray.init(address=address or "local", log_to_driver=False, logging_level="ERROR", **here)
    except (ConnectionError, ray.exceptions.RayError, RuntimeError, ValueError) as error:
        where = f"at {address}" if address else "on this machine"
        raise StartupError(
            f"No cluster of Ray answers {where} ({str(error).splitlines()[0]}): start one with `ray start --head`, or"
            " leave --ray out."
        ) from error
    try:
        yield Cluster(ray, int(ray.cluster_resources().get("CPU", 1)))
    finally:
        ray.shutdown()
