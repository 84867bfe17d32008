"""Replay by the journal: one partition's journal and topics, applied as the journal says from its very beginning.

What comes out is what a worker that never failed would have sent.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing

from agents.flow import Item
from monitor.arrivals import pending
from monitor.errors import StartupError
from monitor.journal import read_journal
from monitor.replay_logs import Log, Read
from monitor.replayed import Beat, Replayed, Sink, breathe, drive, item_of
from monitor.rulebook import NO_RULES
from monitor.sequencer import SECOND_NS, JournalMismatchError, Pending, Sequencer
from monitor.worker import Stage
from schemas.journal import Clock, Decides, Ladder, Rules, Run, Step
from schemas.order_frames import AnyFrame


async def by_journal(
    log: Log,
    stage: Stage,
    partition: int,
    *,
    others: Sequence[Stage] = (),
    sink: Sink | None = None,
    progress: Callable[[int], None] | None = None,
    wanted: Callable[[str], bool] | None = None,
    until_ns: int = 0,
    beat: Beat = breathe,
) -> Replayed:
    """Apply a partition's journal from its beginning; everything it names must still be in its topics.

    Topics are read as far as the journal has come, each apart from the others; messages of topics that the stage does
    not hear are passed over. Where the journal says that another bundle decides, the stage of that bundle goes on over
    the same state, as it did live.

    Parameters
    ----------
    log
        Reads a partition of a topic from its beginning.
    stage
        The stage, with the bundle that decides where the journal does not say which (0.1.0 did not write it).
    others
        The same stage with other bundles.
    progress
        Is told how many messages were applied since it was last told.
    wanted
        Keys whose messages are applied; the others are passed over. All, if None.
    until_ns
        What was available from then on is not said; 0: all is. What came late is applied where it came, among what was
        later, so the journal is followed as far as it names something of before.
    beat
        Is awaited at each clock entry, with the clock, ns.

    Raises
    ------
    JournalMismatchError
        A topic has lost messages that the journal names, or the journal its beginning or entries.
    StartupError
        The journal names a bundle that is not among those of the stages.
    """
    replayed = Replayed(sink)
    if sink is not None:
        sink.begin_stage()
    sequencer = Sequencer(stage.topics, overtake_ns=0)
    async with AsyncExitStack() as stack:

        async def opened(topic: str) -> AsyncGenerator[Read, None]:
            return await stack.enter_async_context(aclosing(log(topic, partition)))

        steps: Sequence[Step] = await steps_of(log, stage, partition)
        if until_ns:
            steps = _until(steps, until_ns, await _last_before(log, stage.topics, partition, until_ns, wanted))
        stretches = _stretches(steps, stage, others)
        unread = {topic: await opened(topic) for topic in stage.topics}
        level = 0
        last_ns = (until_ns - 1) // SECOND_NS * SECOND_NS if until_ns else 2**63 - 1

        async def items(deciding: Stage, stretch: Iterable[Step]) -> AsyncIterator[Item]:
            nonlocal level
            yield Ladder(level, "as it was")
            for step in stretch:
                if isinstance(step, Run):
                    if step.topic not in unread:
                        continue
                    while not sequencer.has(step):
                        message = await anext(unread[step.topic], None)
                        if message is None:
                            raise JournalMismatchError(
                                f"the journal names {step.count} messages of {step.topic} from offset {step.offset}"
                                f" on, the topic holds {len(sequencer.buffers[step.topic])} of them"
                            )
                        if wanted is None or wanted(message[1].decode("utf-8", "replace")):
                            sequencer.push(step.topic, pending(step.topic, *message))
                        else:
                            sequencer.push(step.topic, Pending(message[0], "", 0, None))
                    for taken in sequencer.follow(step):
                        if taken.message.value is None and taken.message.refusal is None:
                            continue  # not wanted
                        item = await item_of(deciding, taken, partition, level, replayed)
                        if item is not None:
                            yield item
                    if progress is not None:
                        progress(step.count)
                elif not isinstance(step, Decides | Rules):
                    level = step.level if isinstance(step, Ladder) else level
                    if isinstance(step, Clock):
                        replayed.clock_ns = max(replayed.clock_ns, min(step.now_ns, last_ns))
                    yield step
                    if isinstance(step, Clock):
                        await beat(step.now_ns)

        for deciding, stretch in stretches:
            await drive(deciding, items(deciding, stretch), replayed, until_ns)
        return replayed


async def steps_of(log: Log, stage: Stage, partition: int) -> list[Step]:
    """Return all that the journal of a stage's partition says.

    Raises
    ------
    JournalMismatchError
        The journal has lost its beginning, or entries.
    """
    async with aclosing(log(stage.journal, partition)) as journal:
        return [step for entry in await read_journal(_whole(stage.journal, journal), -1) for step in entry.steps]


def under(stage: Stage, rules: Rules) -> Stage:
    """Return a stage as it decides under rules that were in effect.

    Raises
    ------
    StartupError
        They cannot be followed here.
    """
    try:
        return stage.under(rules)
    except ValueError as error:
        raise StartupError(
            f"Rules that were in effect in the {stage.name} stage cannot be followed here ({error}): set labels as they"
            " were, or use the version that made the alerts."
        ) from error


async def _whole(topic: str, journal: AsyncIterator[Read]) -> AsyncIterator[tuple[int, bytes]]:
    """Yield offsets and values of a journal, of which nothing may be missing: without its claim an entry is void."""
    expected = 0
    async for offset, _, value, *_ in journal:
        if offset != expected:
            raise JournalMismatchError(f"{topic} lacks its offsets {expected} to {offset - 1}")
        expected += 1
        yield offset, value


async def _last_before(
    log: Log, topics: Iterable[str], partition: int, until_ns: int, wanted: Callable[[str], bool] | None
) -> dict[str, int]:
    """Return of each topic the offset of the last message of which something was available before a moment."""
    last = {}
    for topic in topics:
        async with aclosing(log(topic, partition)) as reads:
            async for read in reads:
                if wanted is not None and not wanted(read[1].decode("utf-8", "replace")):
                    continue
                found = pending(topic, *read)
                first_ns = found.ts_available
                if isinstance(found.value, AnyFrame):
                    first_ns = int(found.value.ts_available.min(initial=first_ns))
                if found.value is not None and first_ns < until_ns:
                    last[topic] = found.offset
    return last


def _until(steps: Sequence[Step], until_ns: int, last: Mapping[str, int]) -> Sequence[Step]:
    """Return the steps up to the first clock by which all is said of the time before a moment.

    ``last`` holds the offset of each topic's last message of before.
    """
    named = -1
    for number, step in enumerate(steps):
        if isinstance(step, Run) and step.offset <= last.get(step.topic, -1):
            named = number
    for number, step in enumerate(steps):
        if number > named and isinstance(step, Clock) and step.now_ns >= until_ns:
            return steps[: number + 1]
    return steps


def _stretches(steps: Iterable[Step], stage: Stage, others: Sequence[Stage]) -> list[tuple[Stage, list[Step]]]:
    """Return the steps cut where another bundle or other rules decide, each stretch with what does."""
    known = {one.decides.bundle: one for one in (*others, stage)}
    cut: list[tuple[str, Rules, list[Step]]] = [(stage.decides.bundle, NO_RULES, [])]
    for step in steps:
        bundle, rules, found = cut[-1]
        if isinstance(step, Rules):
            cut.append((bundle, step, []))
        elif isinstance(step, Decides) and step.bundle not in ("", bundle):
            cut.append((step.bundle, rules, [step]))
        else:
            found.append(step)
    # One that only said that it would decide decided nothing.
    cut = [one for one in cut if any(not isinstance(step, Decides) for step in one[2])]
    if missing := sorted({bundle for bundle, _, _ in cut} - known.keys()):
        raise StartupError(
            f"The journal of the {stage.name} stage says that bundle {', '.join(missing)} decided part of it, given is"
            f" {', '.join(sorted(known))}: name the folder of each by a --bundle of its own (`tocsin models"
            " fetch` brings one from a registry)."
        )
    return [(under(known[bundle], rules), found) for bundle, rules, found in cut]
