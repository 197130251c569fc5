"""What a process measures of itself: its state and event loop, and on the inference path its spool and publisher."""

import asyncio
from collections.abc import Callable, Iterator

from tollgate_kit.lifecycle import Lifecycle, State
from tollgate_kit.metrics import Family, LoopLag, Sample
from tollgate_kit.publisher import Publisher
from tollgate_kit.spool import Spool


def loop_families(service: str) -> tuple[Family, ...]:
    """Returns what `LoopMeasures` of the same service yields."""
    prefix = f"tollgate_{service}_"
    return (
        Family(f"{prefix}state", "gauge", "1 for the state that the process is in, 0 for the others.", ("state",)),
        Family(f"{prefix}config_info", "gauge", "1, with the configuration version in force.", ("digest",)),
        Family(
            f"{prefix}event_loop_lag_seconds", "histogram", "How late a timer of the event loop was, 4 times a second."
        ),
        Family(f"{prefix}tasks", "gauge", "Tasks of the event loop."),
    )


def process_families(service: str) -> tuple[Family, ...]:
    """Returns what `ProcessMeasures` of the same service yields."""
    prefix = f"tollgate_{service}_"
    return (
        *loop_families(service),
        Family(f"{prefix}spool_bytes", "gauge", "Size of the spool; new requests are refused when it is full."),
        Family(f"{prefix}spool_limit_bytes", "gauge", "Size at which the spool is full."),
        Family(f"{prefix}spool_records", "gauge", "Usage events that the event log does not have yet."),
        Family(f"{prefix}publisher_depth", "gauge", "Usage events on their way to the event log."),
        Family(f"{prefix}published_total", "counter", "Usage events that the event log took."),
        Family(f"{prefix}publish_failures_total", "counter", "Attempts to reach the event log that failed."),
    )


class LoopMeasures:
    """Reads them, in the loop they are about; `config_digest` is empty before there is a version."""

    def __init__(self, service: str, lifecycle: Lifecycle, config_digest: Callable[[], str]) -> None:
        self._prefix = f"tollgate_{service}_"
        self._lifecycle = lifecycle
        self._config_digest = config_digest
        self.lag = LoopLag()

    def samples(self) -> Iterator[Sample]:
        """Yields every value, as it is now."""
        prefix = self._prefix
        for state in State:
            yield f"{prefix}state", (state.value,), int(state is self._lifecycle.state)
        if digest := self._config_digest():
            yield f"{prefix}config_info", (digest,), 1
        yield f"{prefix}event_loop_lag_seconds", (), self.lag.seconds
        yield f"{prefix}tasks", (), len(asyncio.all_tasks())


class ProcessMeasures(LoopMeasures):
    """Reads those of a process with a spool."""

    def __init__(
        self,
        service: str,
        lifecycle: Lifecycle,
        config_digest: Callable[[], str],
        spool: Spool,
        spool_limit_bytes: int,
        publisher: Publisher,
    ) -> None:
        super().__init__(service, lifecycle, config_digest)
        self._spool, self._spool_limit = spool, spool_limit_bytes
        self._publisher = publisher

    def samples(self) -> Iterator[Sample]:
        """Yields every value, as it is now."""
        yield from super().samples()
        spool, publisher = self._spool, self._publisher
        for name, value in (
            ("spool_bytes", spool.bytes),
            ("spool_limit_bytes", self._spool_limit),
            ("spool_records", spool.records),
            ("publisher_depth", publisher.depth()),
            ("published_total", publisher.published),
            ("publish_failures_total", publisher.failures),
        ):
            yield self._prefix + name, (), value
