"""A real Kafka where one can be had, the embedded one everywhere."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from monitor.kafka import create_topics
from monitor.settings import Settings
from schemas.topics import HISTORY_INPUTS
from tests.integration.kafka import Broker, KafkaUnavailableError, delete_topics

#: Tests send what has times of its own, and retention goes by these: a broker looks for what is too old every five
#: minutes, and would delete it under their hands.
FOR_GOOD = ",".join(f"{name}=36500d" for name in ("ticks", "documents", *HISTORY_INPUTS))
KAFKA_IMAGE = "confluentinc/cp-kafka:8.1.0"
_WHY = pytest.StashKey[str]()


def _docker_answers() -> bool:
    if shutil.which("docker") is None:
        return False
    return subprocess.run(["docker", "info"], capture_output=True, timeout=20, check=False).returncode == 0


@pytest.fixture(scope="session")
def kafka(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Bootstrap servers of a real Kafka: ``TOCSIN_TEST_BOOTSTRAP``, else in Docker, else on the Java at hand."""
    if bootstrap := os.environ.get("TOCSIN_TEST_BOOTSTRAP"):
        yield bootstrap
        return
    if (container := _container()) is not None:
        yield container.get_bootstrap_server()
        container.stop()
        return
    broker = _own_broker(request, tmp_path_factory)
    broker.start()
    yield broker.bootstrap
    broker.stop()


def _container() -> Any:
    """Return a started Kafka in Docker, None where there is no engine, or none that has or may fetch the image."""
    if not _docker_answers():
        return None
    from docker.errors import DockerException
    from testcontainers.community.kafka import KafkaContainer

    try:
        return KafkaContainer(KAFKA_IMAGE).with_kraft().start()
    except (DockerException, ConnectionError) as error:
        print(f"Docker is here, and gives no Kafka ({error}): one is started from its jars", file=sys.stderr)
        return None


@pytest.fixture
def broker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A started node of the test's own, which it may kill and restart."""
    node = _own_broker(request, tmp_path_factory)
    node.start()
    yield node
    node.stop()


def _own_broker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Broker:
    config = request.config
    try:
        if _WHY in config.stash:
            raise KafkaUnavailableError(config.stash[_WHY])
        return Broker(tmp_path_factory.mktemp("kafka"))
    except KafkaUnavailableError as error:
        config.stash[_WHY] = str(error)
        if os.environ.get("TOCSIN_REQUIRE_KAFKA") == "1":
            pytest.fail(f"TOCSIN_REQUIRE_KAFKA=1, and there is no Kafka here: {error}")
        # pytest's last lines repeat this for every test that was skipped.
        pytest.skip(f"needs a real Kafka: {error}; or Docker, or a broker that TOCSIN_TEST_BOOTSTRAP=HOST:PORT names")


_EMBEDDED = """
from confluent_kafka import Producer
owner = Producer({"test.mock.num.brokers": "1", "bootstrap.servers": "ignored", "log_level": 0})
(node,) = owner.list_topics(timeout=10).brokers.values()
print(f"{node.host}:{node.port}", flush=True)
input()
"""


@pytest.fixture(scope="session")
def embedded() -> Iterator[str]:
    """Bootstrap server of librdkafka's in-memory broker.

    It lives in a process of its own, which is killed: destroying it beside its clients has hung.
    """
    process = subprocess.Popen(
        [sys.executable, "-c", _EMBEDDED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.kill()


@pytest.fixture
def prefix() -> str:
    """A prefix of topics that nobody else uses."""
    return f"test-{uuid.uuid4().hex[:10]}."


@pytest.fixture
def settings_of(prefix: str) -> Iterator[Callable[..., Settings]]:
    """Build settings for a broker, with all topics created (4 partitions) and a group of the test's own."""
    lasting = []

    def build(bootstrap: str, **others: object) -> Settings:
        own = {"prefix": prefix, "group": prefix + "group", "partitions": 4, "http_port": 0, "retention": FOR_GOOD}
        settings = Settings(bootstrap=bootstrap, **own | others)
        asyncio.run(create_topics(settings))
        if bootstrap == os.environ.get("TOCSIN_TEST_BOOTSTRAP"):
            lasting.append(bootstrap)
        return settings

    yield build
    for bootstrap in lasting:
        delete_topics(bootstrap, prefix)


@pytest.fixture
def topics(kafka: str, settings_of: Callable[..., Settings]) -> Settings:
    """Settings for the real Kafka; all topics are there, with 4 partitions."""
    return settings_of(kafka)
