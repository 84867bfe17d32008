"""A real Kafka for tests, from Kafka's own jars on the Java at hand: one node, started, killed and restarted by pid."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from aiokafka import ConsumerRecord

from monitor import kafka
from monitor.settings import Settings

POM = Path(__file__).parents[1] / "kafka" / "pom.xml"

_PROPERTIES = """\
process.roles=broker,controller
node.id=1
listeners={listeners},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners={listeners}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SSL:SSL,SASL_SSL:SASL_SSL
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
controller.quorum.voters=1@127.0.0.1:{controller_port}
log.dirs={folder}/data
num.partitions=4
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
"""


class KafkaUnavailableError(Exception):
    """Why no broker can be had here, and what to install."""


def java() -> str:
    """Return the path of the Java that runs the broker.

    Raises
    ------
    KafkaUnavailableError
        There is none, or it is older than 17.
    """
    home = os.environ.get("JAVA_HOME")
    path = str(Path(home) / "bin" / "java") if home else shutil.which("java")
    if path is None or not Path(path).exists():
        raise KafkaUnavailableError("no Java: install a JRE, 17 or later")
    banner = subprocess.run([path, "-version"], capture_output=True, text=True, check=True).stderr
    if int(banner.split('"')[1].split(".")[0]) < 17:
        raise KafkaUnavailableError(f"{banner.splitlines()[0]} is too old: install a JRE, 17 or later")
    return path


def libs() -> Path:
    """Return the folder of Kafka's jars; Maven fills it at the first call.

    The folder is ``TOCSIN_KAFKA_LIBS``, else one in the user's cache, so that fresh clones share it.

    Raises
    ------
    KafkaUnavailableError
        The jars are not there, and Maven is not either or fails.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "tocsin"
    name = f"kafka-{hashlib.sha256(POM.read_bytes()).hexdigest()[:12]}"
    folder = Path(os.environ.get("TOCSIN_KAFKA_LIBS", cache / name))
    if any(folder.glob("kafka_2.13-*.jar")):
        return folder
    maven = shutil.which("mvn")
    if maven is None:
        raise KafkaUnavailableError("Kafka's jars are not here: install Maven, which fetches them (56 MB)")
    # Filled beside and renamed, so that an interrupted download leaves no half-filled folder behind.
    partial = folder.with_name(f"{folder.name}.{os.getpid()}")
    partial.mkdir(parents=True)
    command = [maven, "-q", "-B", "-f", str(POM), "dependency:copy-dependencies", f"-DoutputDirectory={partial}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        shutil.rmtree(partial)
        raise KafkaUnavailableError(f"Maven could not fetch Kafka's jars: {done.stdout.strip()[-300:]}")
    if folder.exists():
        shutil.rmtree(partial)
    else:
        partial.rename(folder)
    return folder


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


#: A test's broker lives for a minute: the quick compiler and the small collector start it sooner.
SOON_UP = ("-Xms128m", "-Xmx512m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
#: What Kafka's own start scripts give it.
AS_SERVED = (
    *("-server", "-Xms1g", "-Xmx1g", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20"),
    *("-XX:InitiatingHeapOccupancyPercent=35", "-XX:+ExplicitGCInvokesConcurrent"),
)


class Broker:
    """One Kafka node in a folder of its own. Its port and data outlive a kill, so that clients find it again.

    ``flags`` are the Java machine's. Beside PLAINTEXT it listens on ``listeners``; ``properties`` are more of its own,
    ``format`` more arguments of the storage tool.

    Raises
    ------
    KafkaUnavailableError
        From the constructor: no Java or no jars; the message says what to install.
    """

    def __init__(
        self,
        folder: Path,
        flags: Sequence[str] = SOON_UP,
        *,
        listeners: Sequence[str] = (),
        properties: str = "",
        format: Sequence[str] = (),
    ) -> None:
        self._java = java()
        self._flags = flags
        self._classpath = f"{libs()}/*"
        self._folder = folder
        self.port = free_port()
        self.bootstrap = f"127.0.0.1:{self.port}"
        self._properties = folder / "server.properties"
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        every = ",".join([f"PLAINTEXT://{self.bootstrap}", *listeners])
        text = _PROPERTIES.format(listeners=every, controller_port=free_port(), folder=folder)
        self._properties.write_text(text + properties)
        cluster = ("-t", "dG9jc2luLXRlc3RzLTAwMQ", "-c", str(self._properties))
        self._tool("kafka.tools.StorageTool", "format", *cluster, *format)

    def _tool(self, main: str, *arguments: str) -> None:
        command = [self._java, "-Xmx128m", "-cp", self._classpath, main, *arguments]
        subprocess.run(command, check=True, capture_output=True)

    def start(self, timeout_s: float = 60.0) -> None:
        """Start the node and wait until it answers clients."""
        with (self._folder / "broker.log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._java, *self._flags, "-cp", self._classpath, "kafka.Kafka", str(self._properties)],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + timeout_s
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                tail = (self._folder / "broker.log").read_text(errors="replace")[-2000:]
                self.kill()
                raise RuntimeError(f"Kafka did not start within {timeout_s:g} s:\n{tail}")
            time.sleep(0.1)

    def _answers(self) -> bool:
        from confluent_kafka import KafkaException
        from confluent_kafka.admin import AdminClient

        with socket.socket() as probe:
            probe.settimeout(1)
            if probe.connect_ex(("127.0.0.1", self.port)):
                return False
        try:
            # log_level 0: a node that is still starting closes connections, which is no news here.
            client = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})
            return bool(client.list_topics(timeout=2).brokers)
        except KafkaException:
            return False

    def kill(self) -> None:
        """End the node at once, as a crash does (SIGKILL)."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End the node in order (SIGTERM)."""
        self._end(signal.SIGTERM)

    def restart(self) -> None:
        """Start the node on its old port and data; it is killed first if it still runs."""
        self.kill()
        self.start()

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(how)
            try:
                self._process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._process = None


async def messages_of(settings: Settings, topic: str) -> list[ConsumerRecord]:
    """Return all that a topic (without prefix) holds, each partition in order."""
    name = kafka.full_name(settings.prefix, topic)
    partitions = (await kafka.partition_counts(settings))[name]
    async with kafka.reader(settings) as consumer:
        ends = await kafka.end_offsets(consumer, name, range(partitions))
        return [
            record
            for partition, end in ends.items()
            async for record in kafka.read_partition(consumer, name, partition, 0, end)
        ]


def delete_topics(bootstrap: str, prefix: str) -> None:
    """Delete every topic whose name begins with ``prefix``, so that a broker that outlives the tests stays small."""
    from confluent_kafka.admin import AdminClient

    client = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    names = [name for name in client.list_topics(timeout=10).topics if name.startswith(prefix)]
    if names:
        for future in client.delete_topics(names).values():
            future.result()
