"""Apache Kafka from its own jars: one broker that is its own controller."""

import itertools
import signal
import uuid
from pathlib import Path

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from tests.servers.java import jars, java
from tests.servers.process import Child, free_ports, run, wait_until

HERE = Path(__file__).resolve().parent
VERSION = "4.3.1"
FLAGS = ("-Xms64m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")
CLUSTER_ID = "MkU3OEVBNTcwNTJENDM2Qk"


class KafkaBroker:
    """A broker in `directory`. It keeps its port over `stop`, `kill` and `start`.

    `advertised_port` is where clients are told to go: a proxy's, for faults on the wire.
    """

    def __init__(self, directory: Path, advertised_port: int | None = None) -> None:
        self.directory = directory
        self.port, controller_port = free_ports(2)
        self._java = java("Apache Kafka")
        self._classpath = f"{jars('Apache Kafka', f'kafka-{VERSION}', HERE / 'pom.xml')}/*"
        settings = (HERE / "server.properties").read_text(encoding="utf-8")
        for name, value in {
            "PORT": self.port,
            "CONTROLLER_PORT": controller_port,
            "ADVERTISED_PORT": advertised_port or self.port,
            "DIRECTORY": directory / "data",
        }.items():
            settings = settings.replace(f"@{name}@", str(value))
        self._settings = directory / "server.properties"
        self._settings.write_text(settings, encoding="utf-8")
        command = [self._java, *FLAGS, "-cp", self._classpath]
        log_settings = f"-Dlog4j2.configurationFile={HERE / 'log4j2.properties'}"
        run([*command, log_settings, "kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", self._settings])
        self._child = Child(
            [*command, log_settings, "kafka.Kafka", self._settings], directory / "kafka.log", cwd=directory
        )
        self._starts = itertools.count(1)

    @property
    def bootstrap(self) -> str:
        """`host:port`, as clients of Kafka take it."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """The broker as an event log URL."""
        return f"kafka://{self.bootstrap}"

    @property
    def pid(self) -> int:
        return self._child.pid

    def start(self) -> None:
        """Starts the broker and waits until it says that it has started."""
        expected = next(self._starts)
        self._child.start(lambda: self._child.log.read_text(errors="replace").count("Kafka Server started") >= expected)

    def stop(self) -> None:
        """Stops the broker in good order."""
        self._child.stop()

    def kill(self) -> None:
        """Crashes the broker."""
        self._child.kill()

    def freeze(self, *, frozen: bool) -> None:
        """Stops the broker's clock, as a stalled machine would, or lets it go on."""
        self._child.signal(signal.SIGSTOP if frozen else signal.SIGCONT)
        if frozen:
            # A thread that was about to run ends its turn first.
            threads = Path(f"/proc/{self._child.pid}/task")
            wait_until(
                lambda: all(_stopped(thread) for thread in threads.iterdir()), "every thread of the broker stops"
            )


def _stopped(thread: Path) -> bool:
    return (thread / "stat").read_text().rpartition(")")[2].split()[0] == "T"


def new_topic_name(prefix: str) -> str:
    """Returns a topic name that no other test uses."""
    return f"{prefix}.{uuid.uuid4().hex[:12]}"


async def delete_records(broker: KafkaBroker, partition: TopicPartition, before: int) -> None:
    """Has a partition begin at an offset, as when its retention has passed what is before."""
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap)
    await admin.start()
    try:
        await admin.delete_records({partition: RecordsToDelete(before)})
    finally:
        await admin.close()
