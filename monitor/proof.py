"""Proving an alert: it is rebuilt from what it stands on, by the configuration that decided it, and compared.

As little is replayed as rebuilds it to the letter: the messages of its instrument and the clock, from the beginning of
what is there to the moment at which the alert was available. An alert of the market needs every instrument up to then;
by the market's own journal, the openings that it heard. One of an account needs what all accounts moved and stated.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from agents.triage import LEVELS
from monitor import kafka, market_stage
from monitor.agreement import Difference, farthest, first_difference
from monitor.errors import StartupError
from monitor.history import HORIZON_NS
from monitor.ids import named
from monitor.recordings import Message, Recording
from monitor.replay_history import Course, accounts_of, by_history
from monitor.replay_journal import by_journal, steps_of, under
from monitor.replay_logs import Log, Read, alerts_on_broker
from monitor.replay_run import Loaded, warm_up
from monitor.replayed import Replayed
from monitor.sequencer import JournalMismatchError
from monitor.settings import Settings
from monitor.stage import Stages
from monitor.worker import Stage
from schemas.alerts import Alert, AlertEvent, Input
from schemas.journal import Rules
from schemas.records import DeadLetter
from schemas.topics import ACCOUNTS, MARKET_INPUTS

_event = msgspec.json.Decoder(AlertEvent)


@dataclass(frozen=True, slots=True)
class Proof:
    """What came of rebuilding an alert: the first ``difference``, None where there is none.

    ``farthest`` is the number that differs most where all agree within the tolerance. ``inputs`` of the evidence were
    found with their digest. ``notes`` are sentences on what differs and may.
    """

    theirs: Alert
    difference: Difference | None
    farthest: Difference | None
    messages: int
    inputs: int
    notes: tuple[str, ...]


def of_recording(recording: Recording) -> list[Alert]:
    """Return the alerts that a captured recording holds."""
    if "alerts" not in recording.topics:
        raise StartupError(
            f"{recording.path} holds no alerts: name the folder of its replay (`tocsin replay {recording.path} --out"
            " DIR`, then `tocsin replay DIR --alert ID`), or a recording that `tocsin record` captured with them."
        )
    return [_event.decode(message.value).data for message in recording.messages(["alerts"])]


async def on_broker(settings: Settings) -> list[Alert]:
    """Return the alerts that are on the broker."""
    partitions = await kafka.require_topics(settings, ("alerts",))
    return [one for partition in range(partitions) for one in await alerts_on_broker(settings, partition)]


def chosen(alerts: Iterable[Alert], alert_id: str, where: str, listing: str) -> Alert:
    """Return the alert of an id, or of the beginning of one; ``where`` they are and what lists them is for errors.

    Raises
    ------
    StartupError
        There is none, or there are several.
    """
    found = {alert.alert_id: alert for alert in alerts}
    return found[named(alert_id, {one: one for one in found}, "alert", where=where, listing=listing)]


def raised_by(alert: Alert) -> Literal["instrument", "account", "market"]:
    """Return which stage raised an alert."""
    if alert.subject.instrument == ACCOUNTS:
        return "account"
    market = alert.finding.typology.partition("@")[0] in {spec.name for spec in market_stage.SPECS.values()}
    return "market" if market else "instrument"


def _stages(alert: Alert, loaded: Loaded) -> list[Stage]:
    """Return the stage that raised an alert, as each bundle has it."""
    name = raised_by(alert)
    return [getattr(one, name) for one in (loaded.stages, *loaded.others)]


def _partition(alert: Alert) -> int:
    """Return which partition of its stage raised an alert.

    Raises
    ------
    StartupError
        The alert names no input.
    """
    if not alert.evidence.inputs:
        raise StartupError(f"Alert {alert.alert_id} names no input, so nobody knows which partition raised it.")
    return alert.evidence.inputs[0].partition if raised_by(alert) == "instrument" else 0


async def journalled(log: Log, loaded: Loaded, alert: Alert) -> list[Rules]:
    """Return the rules that were in effect where an alert was raised, as the journal there holds them."""
    (stage, *_), partition = _stages(alert, loaded), _partition(alert)
    try:
        steps = await steps_of(log, stage, partition)
    except JournalMismatchError as error:
        raise StartupError(
            f"Alert {alert.alert_id} cannot be rebuilt from the beginning of partition {partition}, for retention has"
            f" deleted a part of its journal ({error}): prove it from a recording."
        ) from error
    return [step for step in steps if isinstance(step, Rules)]


def require_configuration(alert: Alert, loaded: Loaded, rules: Sequence[Rules]) -> None:
    """Raise `StartupError` where none of the stages, under any of the rules, is of the configuration that decided."""
    made, stages = alert.provenance, _stages(alert, loaded)
    ruled = [under(stage, one) for stage in stages for one in dict.fromkeys(rules)]
    configs = [config for one in (*stages, *ruled) for config in one.configs or (one.decides.config,)]
    if made.config in configs:
        return
    decides = [one.decides for one in stages]
    bundles = ", ".join(one.bundle for one in decides if one.bundle)
    if made.bundle and all(one.bundle != made.bundle for one in decides):
        raise StartupError(
            f"Alert {alert.alert_id} was decided by bundle {made.bundle} (configuration {made.config}), here is"
            f" {bundles}: name the folder of that bundle by --bundle."
        )
    raise StartupError(
        f"Alert {alert.alert_id} was decided by configuration {made.config} of version {made.code_version}, here is"
        f" {', '.join(dict.fromkeys(configs))}: set bar_s, grace_ms, idle_grace_ms, forget_days, labels, pump,"
        " accounts, sanctions and rules (`tocsin rules show VERSION`) as they were (--config FILE), or use the version"
        " that made it."
    )


@dataclass(slots=True)
class _Rebuilt:
    """Waits for one alert, and looks at the evidence of another; it is a `monitor.replayed.Sink`."""

    theirs: Alert
    ours: Alert | None = None
    seen: dict[tuple[str, int, int], str] = field(default_factory=dict)
    messages: int = 0

    def begin_stage(self) -> None:
        """Take notice of the next stage."""

    def refuse(self, letter: DeadLetter) -> None:
        """Take a dead letter."""

    def take(self, output: object) -> None:
        """Keep the alert."""
        if isinstance(output, Alert) and output.alert_id == self.theirs.alert_id:
            self.ours = output

    def look(self, topic: str, partition: int, offset: int, value: bytes) -> None:
        """Note the digest of a message that is applied, if it is evidence."""
        self.messages += 1
        place = topic, partition, offset
        if place in self.seen:
            self.seen[place] = hashlib.sha256(value).hexdigest()

    def missing(self, inputs: Sequence[Input]) -> Iterator[Difference]:
        """Yield what of the evidence was not there, or is not what it was."""
        for one in inputs:
            found = self.seen[one.topic, one.partition, one.offset]
            if found != one.sha256:
                place = f"evidence {one.topic}/{one.partition}, offset {one.offset}"
                yield Difference(place, one.sha256, found or None)

    def proof(self, inputs: Sequence[Input], from_ns: int) -> Proof:
        """Return what came of it; ``inputs`` are those that could be looked at."""
        theirs, ours = self.theirs, self.ours
        missing = list(self.missing(inputs))
        notes = []
        difference: Difference | None = missing[0] if missing else None
        if ours is None:
            difference = difference or Difference("", theirs.finding.typology, None)
            return Proof(theirs, difference, None, self.messages, len(inputs) - len(missing), ())
        if ours.times.available_at < from_ns:
            ours = warm_up(ours)
        if ours.provenance.code_version != theirs.provenance.code_version:
            notes.append(f"made by version {theirs.provenance.code_version}, rebuilt by {ours.provenance.code_version}")
            provenance = msgspec.structs.replace(ours.provenance, code_version=theirs.provenance.code_version)
            ours = msgspec.structs.replace(ours, provenance=provenance)
        mine, their = ours.provenance, theirs.provenance
        if (mine.backend, mine.precision) != (their.backend, their.precision):
            notes.append(
                f"made on {their.backend or '–'} in {their.precision or '–'}, rebuilt on {mine.backend or '–'} in"
                f" {mine.precision or '–'}"
            )
        difference = difference or first_difference(ours, theirs)
        most = farthest(ours, theirs) if difference is None else None
        return Proof(theirs, difference, most, self.messages, len(inputs) - len(missing), tuple(notes))


async def by_recording(
    recording: Recording, stages: Stages, theirs: Alert, start_ns: int, from_ns: int, level: int = 0
) -> Proof:
    """Rebuild an alert of a replay in canonical order.

    Parameters
    ----------
    start_ns
        Where that replay began, ns UTC.
    from_ns
        Alerts before are of its warm-up.
    level
        The ladder's, at which it was: of an alert of the market, which hears of instruments and has none of its own.
    """
    by = raised_by(theirs)
    at_ns = theirs.times.available_at
    inputs = [one for one in theirs.evidence.inputs if one.topic not in MARKET_INPUTS]
    rebuilt = _Rebuilt(theirs, seen={(one.topic, one.partition, one.offset): "" for one in inputs})
    keys = frozenset({theirs.subject.instrument.encode()}) if by == "instrument" else None
    topics = stages.account.topics if by == "account" else stages.instrument.topics
    # A frame that the alert stands on may end after it.
    messages = recording.messages(topics, start_ns or None, at_ns + HORIZON_NS, keys)

    def looked_at() -> Iterator[Message]:
        for message in messages:
            rebuilt.look(message.topic, message.partition, message.offset, message.value)
            yield message

    # A replay of history stays at one level.
    level = level if by == "market" else LEVELS.index(theirs.quality.ladder)
    if by == "account":
        await accounts_of(looked_at(), Replayed(rebuilt, clock_ns=at_ns), stages, end_ns=at_ns + 1, level=level)
        return rebuilt.proof(inputs, from_ns)
    course = Course(end_ns=at_ns + 1, until_ns=at_ns, level=level)
    await by_history(looked_at(), stages, course, sink=rebuilt, market=by == "market")
    return rebuilt.proof(inputs, from_ns)


class _Found(Exception):
    """The alert is there: no more needs to be applied."""


@dataclass(slots=True)
class _Stopping(_Rebuilt):
    def take(self, output: object) -> None:
        _Rebuilt.take(self, output)
        if self.ours is not None:
            raise _Found


async def by_log(log: Log, loaded: Loaded, theirs: Alert, from_ns: int = 0) -> Proof:
    """Rebuild an alert by the journal of the partition that raised it.

    Raises
    ------
    StartupError
        The alert names no input, or what the journal names is not there any more.
    """
    of = _stages(theirs, loaded)
    alone = raised_by(theirs) == "instrument"
    inputs = theirs.evidence.inputs
    rebuilt = _Stopping(theirs, seen={(one.topic, one.partition, one.offset): "" for one in inputs})
    partition = _partition(theirs)
    key = theirs.subject.instrument

    async def looked_at(topic: str, number: int) -> AsyncGenerator[Read, None]:
        async with aclosing(log(topic, number)) as reads:
            async for read in reads:
                if topic in of[0].topics and (not alone or read[1] == key.encode()):
                    rebuilt.look(topic, number, read[0], read[2])
                yield read

    try:
        with suppress(_Found):
            await by_journal(
                looked_at,
                of[0],
                partition,
                others=of[1:],
                sink=rebuilt,
                wanted=key.__eq__ if alone else None,
            )
    except JournalMismatchError as error:
        raise StartupError(
            f"Alert {theirs.alert_id} cannot be rebuilt from the beginning of partition {partition}, for retention has"
            f" deleted what it was made of ({error}): keep the inputs for longer, or prove it from a recording."
        ) from error
    return rebuilt.proof(inputs, from_ns)
