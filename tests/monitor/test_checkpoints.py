"""Rows read downwards as the log; a checkpoint is what stands above its closing record."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from itertools import islice
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st

from monitor import checkpoints
from monitor.checkpoints import (
    CLOSING_KEY,
    Closing,
    Loaded,
    Span,
    encode_closing,
    from_broker,
    load,
    restored,
    seal,
    to_broker,
)

Record = tuple[bytes, bytes]


def closing(ordinal: int, epoch: int = 1, start: int = 0) -> Record:
    offsets = {"frames": ordinal}
    record = Closing(
        epoch=epoch, journal=0, ordinal=ordinal, offsets=offsets, alerts=0, clock_ns=0, latest_ns=0, level=0, config="c"
    )
    return CLOSING_KEY, seal(epoch, start, encode_closing(record))


def state(key: str, value: bytes, epoch: int = 1, start: int = 0) -> Record:
    return key.encode(), seal(epoch, start, value)


def read(*log: Record, start: int | None = None) -> Loaded:
    return read_compacted(dict(enumerate(log)), start)


def read_compacted(log: dict[int, Record], start: int | None = None) -> Loaded:
    """Read a log by offsets, some of which may be gone."""

    async def records(begin: int, end: int) -> AsyncIterator[tuple[int, bytes, bytes]]:
        for offset, record in log.items():
            if begin <= offset < end:
                yield offset, *record

    return asyncio.run(load(records, max(log, default=-1) + 1, start))


def test_a_load_of_many_keys_lets_others_have_their_turns() -> None:
    """The fence takes a worker for frozen whose event loop stands still for half a session."""
    keys, turns = 5 * checkpoints.UNPACKED_AT_ONCE, 0

    async def records(begin: int, end: int) -> AsyncIterator[tuple[int, bytes, bytes]]:
        for offset in range(begin, end):
            yield (offset, *(state(f"k{offset}", b"x") if offset < keys else closing(1)))

    async def take_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def both() -> Loaded:
        other = asyncio.create_task(take_turns())
        loaded = await load(records, keys + 1)
        other.cancel()
        return loaded

    assert len(asyncio.run(both()).states) == keys
    assert turns >= 5


def compacted(log: dict[int, Record], until: int) -> dict[int, Record]:
    """Return the log as compaction leaves it that has come up to ``until``: of each key the last record there."""
    last = {key: offset for offset, (key, _) in log.items() if offset < until}
    return {offset: record for offset, record in log.items() if offset >= until or last[record[0]] == offset}


def test_an_empty_log_is_no_checkpoint() -> None:
    assert read() == Loaded(None, {}, set())


def test_the_last_complete_checkpoint_counts() -> None:
    loaded = read(state("A", b"1"), state("B", b"1"), closing(10), state("A", b"2"), closing(20))
    assert loaded.states == {"A": b"2", "B": b"1"}
    assert loaded.closing is not None
    assert loaded.closing.ordinal == 20


def test_a_checkpoint_without_its_closing_record_is_void_and_its_keys_are_named() -> None:
    loaded = read(state("A", b"1"), closing(10), state("A", b"2"), state("C", b"2"))
    assert loaded.states == {"A": b"1"}
    assert loaded.leftovers == {"A", "C"}


def test_a_successors_checkpoint_does_not_complete_its_predecessors() -> None:
    loaded = read(state("A", b"1"), closing(10), state("A", b"2"), state("B", b"9", epoch=5), closing(12, epoch=5))
    assert loaded.states == {"A": b"1", "B": b"9"}
    assert loaded.leftovers == {"A"}


def test_what_a_replaced_worker_still_writes_is_void() -> None:
    loaded = read(state("A", b"5", epoch=5), closing(50, epoch=5), state("A", b"1", epoch=1), closing(60, epoch=1))
    assert loaded.states == {"A": b"5"}
    assert loaded.closing is not None
    assert loaded.closing.ordinal == 50


def test_compaction_that_removed_older_closing_records_changes_nothing() -> None:
    # The log before: A1 closing10 B2 closing20. Compaction keeps a key's last record.
    assert read(state("A", b"1"), state("B", b"2"), closing(20)).states == {"A": b"1", "B": b"2"}


def test_reading_begins_where_the_last_record_says() -> None:
    #           0                1                2            3                4
    log = [state("A", b"1"), state("B", b"1"), closing(10), state("A", b"2"), closing(20)]
    #           5                6                7                         8
    log += [state("A", b"3"), state("B", b"1"), closing(30), closing(40, start=5)]
    loaded = read(*log)
    assert (loaded.start, loaded.end) == (5, 9)
    assert loaded.states == {"A": b"3", "B": b"1"}
    assert loaded.closing is not None
    assert loaded.closing.ordinal == 40


def test_a_last_record_that_is_no_closing_one_says_it_too() -> None:
    log = [state("A", b"1"), closing(10), state("A", b"2"), closing(20), state("A", b"3", start=2)]
    assert (read(*log).start, read(*log).states) == (2, {"A": b"2"})


def test_a_log_that_compaction_left_holes_in_tells_its_start() -> None:
    log = dict(enumerate([state("A", b"1"), closing(10), state("A", b"2"), closing(20), closing(30, start=2)]))
    log[99] = log.pop(4)
    assert read_compacted(log).start == 2
    log[199] = closing(40, start=2)
    del log[99], log[3]
    assert read_compacted(log).states == {"A": b"2"}


def test_a_topic_made_anew_under_a_running_worker_is_read_whole() -> None:
    log = [state("A", b"1", start=7_000), closing(10, start=7_000)]
    assert (read(*log).start, read(*log).states) == (0, {"A": b"1"})


def test_records_of_before_compression_and_starts_are_read() -> None:
    def old(record: Record, content: bytes) -> Record:
        return record[0], (1).to_bytes(8, "big") + content

    last = Closing(
        epoch=1, journal=3, ordinal=9, offsets={}, alerts=0, clock_ns=0, latest_ns=0, level=0, config="c"
    )  # fmt: skip
    log = [old(state("A", b""), b"one"), old(state("B", b""), b"1"), old(closing(9), encode_closing(last))]
    assert read(*log) == Loaded(last, {"A": b"one", "B": b"1"}, set(), 0, 3)
    assert read(*log, state("A", b"two", epoch=4), closing(11, epoch=4)).states == {"A": b"two", "B": b"1"}


def test_a_state_is_written_compressed() -> None:
    assert len(seal(1, 0, bytes(10_000))) < 200
    assert read(state("A", bytes(10_000)), closing(1)).states == {"A": bytes(10_000)}


def test_a_key_that_is_gone_is_gone_once_its_checkpoint_is_complete() -> None:
    log = [state("A", b"1"), state("B", b"1"), closing(10), state("A", b"")]
    assert (read(*log).states, read(*log).leftovers) == ({"A": b"1", "B": b"1"}, {"A"})
    assert read(*log, closing(20)).states == {"B": b"1"}
    assert read(*log, closing(20), state("A", b"3"), closing(30)).states == {"A": b"3", "B": b"1"}


def test_a_key_that_is_gone_is_a_tombstone_to_kafka() -> None:
    for content in (b"", b"1"):
        value = seal(7, 3, content)
        stored, headers = to_broker(value)
        assert (stored is None) == (content == b"")
        assert from_broker(stored, headers) == value


# Where a reader may begin.


def test_a_start_moves_once_the_journal_has_answered_a_question_asked_after_the_closing_record() -> None:
    span = Span(start=10, end=40)
    span.wrote(40, 60, keys=20, full=True, journal_end=7)
    span.confirm(8)  # an entry that may have been on its way
    assert span.start == 10
    span.confirm(9)
    assert span.start == 40


def test_a_full_checkpoint_is_due_by_what_a_reader_would_read() -> None:
    span = Span()
    span.wrote(0, 2_255, keys=2_255, full=False, journal_end=0)
    assert not span.full_due(1_000)
    span.wrote(2_256, 2_256, keys=0, full=False, journal_end=0)
    assert span.full_due(1_000)
    span.wrote(2_257, 3_257, keys=1_000, full=True, journal_end=0)
    assert not span.full_due(1_000)  # it is on its way
    span.confirm(2)
    assert (span.start, span.full_due(1_000)) == (2_257, False)


def test_a_full_checkpoint_is_due_where_somebody_else_has_written() -> None:
    span = Span(start=0, end=10)
    span.wrote(12, 15, keys=3, full=False, journal_end=0)  # before it
    assert span.full_due(1_000)
    span.wrote(16, 17, keys=1, full=False, journal_end=0)
    assert span.full_due(1_000)
    span.wrote(18, 22, keys=3, full=True, journal_end=5)  # in it
    assert span.full_due(1_000)
    span.wrote(23, 26, keys=3, full=True, journal_end=8)
    assert not span.full_due(1_000)
    span.confirm(10)
    assert span.start == 23  # not 18: what stands there may be another's


def test_states_that_void_ones_stand_behind_are_to_be_written_again() -> None:
    log = [state("A", b"5", epoch=5), state("B", b"5", epoch=5), closing(50, epoch=5)]
    log += [state("A", b"1", epoch=1), state("C", b"1", epoch=1)]
    assert (read(*log).states, read(*log).leftovers) == ({"A": b"5", "B": b"5"}, {"A", "C"})
    log += [state("A", b"6", epoch=5), closing(60, epoch=5)]
    assert read(*log).leftovers == {"C"}
    # Two in a row died half way; the second had not come to B.
    log += [state("B", b"7", epoch=5), state("A", b"9", epoch=9)]
    assert (read(*log).states, read(*log).leftovers) == ({"A": b"6", "B": b"5"}, {"A", "B", "C"})


class Author:
    """A lane as far as checkpoints go: what it knows, and what of it is on its way to the broker."""

    def __init__(self, world: World, last: int = 1_000) -> None:
        """Take over; of what is to be restored ``last`` records come through before it dies."""
        self.epoch = world.claim()
        loaded = world.loaded()
        self.span = Span(loaded.start, loaded.end)
        self.alive = True
        records = [(key, seal(self.epoch, loaded.start, content)) for key, content in restored(loaded)]
        offsets = [world.append(record) for record in records[:last]]
        self.alive = len(offsets) == len(records)
        if offsets and self.alive:
            self.span.wrote(offsets[0], offsets[-1], keys=len(offsets) - 1, full=False, journal_end=self.epoch + 1)
        # What was journalled after the checkpoint is applied again.
        self.states = dict(world.states)
        self.applied = len(world.changes)
        self.dirty = set(world.changes[world.covered[loaded.closing.ordinal] if loaded.closing else 0 :])
        self.journal_end = self.epoch + 1
        self.answer = 0
        self.writing: Iterator[None] = iter(())
        if self.alive and loaded.closing is not None:
            # From here on compaction can do no harm to what stands there.
            world.settled = len(world.log)
            world.loaded()

    def append(self, world: World) -> None:
        """Write a journal entry: where it stands is settled, but its author learns of it later."""
        if not self.answer:
            self.answer = 1 if world.owner == self.epoch else -1
            world.journal += 1

    def hear(self) -> None:
        """Learn where the entry stands."""
        self.alive = self.answer >= 0
        self.journal_end += self.answer
        self.answer = 0

    def change(self, world: World, key: str, value: bytes) -> None:
        """Apply something that is journalled; no value: the key is forgotten."""
        self.hear()
        self.append(world)
        self.hear()
        if self.alive:
            world.states[key] = self.states[key] = value
            if not value:
                del world.states[key], self.states[key]
            world.changes.append(key)
            self.applied += 1
            self.dirty.add(key)

    def checkpoint(self, world: World) -> Iterator[None]:
        """Write what is dirty, or all, a record at a time."""
        self.span.confirm(self.journal_end)
        keys = self.dirty | set(self.states) if self.span.full_due(len(self.states)) else self.dirty
        cut = {key: self.states.get(key, b"") for key in sorted(keys)}
        full = set(self.states) <= keys
        self.dirty = set()
        number = len(world.checkpoints)
        world.checkpoints.append(dict(self.states))
        world.covered.append(self.applied)
        offsets = []
        for key, value in cut.items():
            offsets.append(world.append(state(key, value, self.epoch, self.span.start)))
            yield
        offsets.append(world.append(closing(number, self.epoch, self.span.start)))
        self.span.wrote(offsets[0], offsets[-1], keys=len(cut), full=full, journal_end=self.journal_end)


class World:
    """A checkpoint log, a journal of which only the length and what it leads to matter, and who owns it.

    ``checkpoints`` holds what each checkpoint is to contain, by its number, ``covered`` how many of the journalled
    ``changes`` it includes. Compaction may have come up to ``settled``.
    """

    def __init__(self) -> None:
        self.log: list[Record] = []
        self.journal = 0
        self.owner = -1
        self.states: dict[str, bytes] = {}
        self.changes: list[str] = []
        self.checkpoints: list[dict[str, bytes]] = []
        self.covered: list[int] = []
        self.settled = 0

    def append(self, record: Record) -> int:
        self.log.append(record)
        return len(self.log) - 1

    def claim(self) -> int:
        self.owner, self.journal = self.journal, self.journal + 1
        return self.owner

    def loaded(self) -> Loaded:
        whole, loaded = read(*self.log, start=0), read(*self.log)
        left = read_compacted(compacted(dict(enumerate(self.log)), self.settled))
        assert (loaded.states, loaded.closing) == (whole.states, whole.closing) == (left.states, left.closing)
        assert loaded.states == (self.checkpoints[loaded.closing.ordinal] if loaded.closing else {})
        return loaded


WHO = st.sampled_from([0, 0, 0, 1, 2])
WORK = st.one_of(
    st.tuples(st.sampled_from(["change", "change", "forget"]), WHO, st.sampled_from("ABCDE")),
    st.tuples(st.just("write"), WHO, st.sampled_from([1, 2, 4, 8])),
    st.tuples(st.sampled_from(["append", "hear"]), WHO, st.just(0)),
)
END = st.tuples(
    st.sampled_from(["replace", "replace", "kill"]),
    st.sampled_from([0, 1, 2]),
    st.sampled_from([1_000, 1_000, 0, 1, 2]),
)
ACTIONS = st.lists(st.integers(0, 15).flatmap(lambda n: WORK if n else END), min_size=30, max_size=150)


@settings(max_examples=300)
@given(actions=ACTIONS)
def test_a_reader_finds_what_the_whole_log_says_whoever_wrote_it(actions: list[tuple[str, int, str | int]]) -> None:
    # Three workers; the newest owns the partition, the others do not know it until the journal tells them.
    world = World()
    with patch.object(checkpoints, "RECORDS_MORE", 0), patch.object(checkpoints, "RECORDS_PER_KEY", 1):
        authors = [Author(world) for _ in range(3)][::-1]
        for number, (what, who, detail) in enumerate(actions):
            author = authors[who]
            if what == "replace":
                authors[who] = Author(world, int(detail))
            elif not author.alive:
                continue
            elif what == "kill":
                author.alive = False
            elif what in ("change", "forget"):
                author.change(world, str(detail), b"%d" % number if what == "change" else b"")
            elif what == "write":
                for _ in range(int(detail)):
                    if next(author.writing, "written") == "written":
                        author.writing = author.checkpoint(world)
                world.loaded()
            elif what == "append":
                author.append(world)
            elif what == "hear":
                author.hear()
        # Whatever is void in there: once its owner, or the next one, has written again, compaction can do no harm.
        last = next((author for author in authors if author.alive and author.epoch == world.owner), None)
        last = last or Author(world)
        list(last.writing)
        for _ in range(3):
            list(last.checkpoint(world))
            for _ in range(2):
                last.append(world)
                last.hear()
    left = read_compacted(compacted(dict(enumerate(world.log)), len(world.log)))
    assert left.states == world.states


@given(writes=st.lists(st.sets(st.sampled_from("ABCDE")), min_size=1, max_size=30), until=st.integers(0, 200))
def test_a_compacted_log_is_read_the_same(writes: list[set[str]], until: int) -> None:
    world = World()
    with patch.object(checkpoints, "RECORDS_MORE", 0):
        author = Author(world)
        for number, keys in enumerate(writes):
            for key in sorted(keys):
                author.change(world, key, b"%d" % number if number % 4 else b"")
            for _ in author.checkpoint(world):
                pass
            author.change(world, "Z", b"z")
            author.change(world, "Z", b"z")
            log = dict(enumerate(world.log))
            loaded = read_compacted(compacted(log, until))
            assert loaded.states == world.loaded().states
            assert loaded.closing == world.loaded().closing


def test_a_void_state_does_not_outlive_the_state_before_it() -> None:
    # A replaced worker's A comes after the owner's; compaction would take the owner's.
    world = World()
    replaced, owner = Author(world), Author(world)
    owner.change(world, "A", b"1")
    owner.change(world, "B", b"1")
    list(owner.checkpoint(world))
    world.append(state("A", b"void", replaced.epoch))
    for value in (b"2", b"3"):
        owner.change(world, "B", value)
        list(owner.checkpoint(world))
    log = dict(enumerate(world.log))
    assert read_compacted(compacted(log, len(log))).states == {"A": b"1", "B": b"3"}


def test_workers_that_die_half_way_again_and_again_leave_the_state_to_compaction() -> None:
    world = World()
    author = Author(world)
    author.change(world, "A", b"1")
    author.change(world, "K", b"1")
    list(author.checkpoint(world))
    author.change(world, "A", b"2")
    author.change(world, "K", b"2")
    for records in (2, 1, 1):  # the first wrote A and K, those after it no more than A
        list(islice(author.checkpoint(world), records))
        author = Author(world)
    left = read_compacted(compacted(dict(enumerate(world.log)), len(world.log)))
    assert left.states == {"A": b"1", "K": b"1"}
