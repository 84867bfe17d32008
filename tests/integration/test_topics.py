from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions
from typer.testing import CliRunner

from monitor import kafka
from monitor.cli import app
from monitor.errors import StartupError
from monitor.settings import Settings
from schemas.topics import BY_NAME, TOPICS


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner(env={"COLUMNS": "200"}).invoke(app, arguments)
    return result.exit_code, result.stdout, result.stderr


@pytest.mark.integration
def test_create_is_idempotent_and_check_is_content(kafka: str, prefix: str) -> None:
    where = ["--bootstrap", kafka, "--prefix", prefix]

    code, _, _ = run("topics", "check", *where)
    assert code == 1

    code, output, _ = run("topics", "create", *where, "--partitions", "3")
    assert code == 0
    assert f"created {prefix}ticks" in output
    assert f"{len(TOPICS)} created, 0 were there" in output

    code, output, _ = run("topics", "create", *where)
    assert code == 0
    assert f"0 created, {len(TOPICS)} were there" in output

    code, output, _ = run("topics", "check", *where)
    assert code == 0, output
    assert output.count(" ok") == len(TOPICS)


@pytest.mark.integration
async def test_checkpoints_are_compacted_and_frames_may_be_large(topics: Settings) -> None:
    states = {state.name: state for state in await kafka.topic_states(topics)}

    checkpoints = states[topics.prefix + "checkpoints"].config
    assert checkpoints["cleanup.policy"] == "compact"
    assert checkpoints["min.compaction.lag.ms"] == "600000"
    assert states[topics.prefix + "frames"].config["max.message.bytes"] == "16777216"
    assert states[topics.prefix + "alerts"].config["retention.ms"] == str(365 * 86_400_000)
    assert {state.config["message.timestamp.type"] for state in states.values()} == {"CreateTime"}


@pytest.mark.integration
async def test_unequal_partitions_are_named_with_a_remedy(topics: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await kafka.check_topics(topics, list(BY_NAME)) == []
    assert await kafka.require_topics(topics, ["frames", "news"]) == 4

    client = AIOKafkaAdminClient(bootstrap_servers=topics.bootstrap)
    await client.start()
    await client.create_partitions({topics.prefix + "news": NewPartitions(6)})
    await client.close()
    while (await kafka.partition_counts(topics))[topics.prefix + "news"] != 6:
        await asyncio.sleep(0.05)

    with pytest.raises(StartupError, match=rf"{topics.prefix}news has 6, others 4; delete and recreate"):
        await kafka.require_topics(topics, ["frames", "journal", "news"])
    monkeypatch.setenv("TOCSIN_RETENTION", topics.retention)
    code, output, error = await asyncio.to_thread(
        run, "topics", "check", "--bootstrap", topics.bootstrap, "--prefix", topics.prefix
    )
    assert code == 1
    assert "6 partitions, others 4" in output
    assert f"1 of {len(TOPICS)} topics" in error


@pytest.mark.integration
async def test_a_topic_in_one_order_has_one_partition(topics: Settings) -> None:
    assert await kafka.require_topics(topics, list(BY_NAME)) == 4
    async with kafka.admin(topics) as client:
        await client.create_partitions({topics.prefix + "transfers": NewPartitions(2)})
    while (await kafka.partition_counts(topics))[topics.prefix + "transfers"] != 2:
        await asyncio.sleep(0.05)
    with pytest.raises(StartupError, match=rf"{topics.prefix}transfers has 2 partitions, .* in one order only in 1: "):
        await kafka.require_topics(topics, list(BY_NAME))


def test_topics_that_keep_another_number_of_partitions_than_was_set_are_told() -> None:
    assert kafka.unlike(Settings(), 4) == kafka.unlike(Settings(partitions=4), 4) == ""
    assert kafka.unlike(Settings(partitions=8), 4).startswith(
        "The keyed topics have 4 partitions, TOCSIN_PARTITIONS is 8"
    )


@pytest.mark.integration
async def test_a_missing_topic_is_named_with_a_remedy(kafka: str, prefix: str) -> None:
    from monitor.kafka import check_topics

    (problem,) = await check_topics(Settings(bootstrap=kafka, prefix=prefix), ["frames"])
    assert f"{prefix}frames; run `tocsin topics create`" in problem


def test_the_embedded_broker_makes_topics_in_its_own_way(embedded: str, prefix: str) -> None:
    code, output, _ = run("topics", "create", "--bootstrap", embedded, "--prefix", prefix)
    assert code == 0
    assert "librdkafka's embedded one" in output

    code, output, _ = run("topics", "check", "--bootstrap", embedded, "--prefix", prefix)
    assert code == 0, output


@pytest.mark.parametrize("broker_kind", ["embedded", pytest.param("kafka", marks=pytest.mark.integration)])
async def test_a_partition_is_read_from_start_to_end_and_no_further(
    broker_kind: str, request: pytest.FixtureRequest, settings_of: Callable[..., Settings]
) -> None:
    settings = await asyncio.to_thread(settings_of, request.getfixturevalue(broker_kind))
    topic = kafka.full_name(settings.prefix, "news")
    async with AIOKafkaProducer(bootstrap_servers=settings.bootstrap) as producer:
        for number in range(10):
            sent = await producer.send_and_wait(topic, str(number).encode(), key=b"ACME.XNYS")
    partition = kafka.partition_for("ACME.XNYS", 4)
    assert sent.partition == partition

    async with kafka.reader(settings) as reader:
        ends = await kafka.end_offsets(reader, topic, range(4))
        assert ends[partition] == 10
        assert sum(ends.values()) == 10
        middle = [record.value async for record in kafka.read_partition(reader, topic, partition, 3, 7)]
        assert middle == [b"3", b"4", b"5", b"6"]
        whole = [record.offset async for record in kafka.read_partition(reader, topic, partition, 0, ends[partition])]
        assert whole == list(range(10))
        assert [r async for r in kafka.read_partition(reader, topic, 0, 0, ends[0])] == []


def test_an_unreachable_broker_is_one_sentence() -> None:
    code, _, error = run("topics", "check", "--bootstrap", "127.0.0.1:1")
    assert code == 2
    (sentence,) = [line for line in error.splitlines() if line.startswith("tocsin: ")]
    assert "No Kafka broker answers at 127.0.0.1:1" in sentence
    assert "TOCSIN_BOOTSTRAP" in sentence
