"""The figures that health is judged by; each is a process setting of the router."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HealthPolicy:
    """All times are in seconds."""

    consecutive_failures: int = 10
    """Failures in a row that open a breaker."""
    failure_ratio: float = 0.5
    """Share of failures that opens a breaker, once there are `ratio_failures` of them."""
    ratio_failures: int = 20
    """Fewest failures within the window for the share to count."""
    window: float = 10.0
    """Over what failures are counted against successes, from the first failure on."""
    open_first: float = 5.0
    """How long a breaker stays open; twice as long each time that its probe fails."""
    open_last: float = 60.0
    """Longest that a breaker stays open."""
    bench_first: float = 10.0
    """How long a credential rests that was refused; twice as long each time that its probe is refused. 0: never."""
    bench_last: float = 600.0
    """Longest that a credential rests before it is probed."""
    probe_patience: float = 30.0
    """How long a probe may take before another request may try; a stream may be under way for longer."""
    retry_ratio: float = 0.2
    """Extra attempts that the failures of a channel may cause, as a share of its first attempts within ten seconds."""
    retry_floor: int = 11
    """Extra attempts within ten seconds that are allowed however few first attempts there were.

    As many as `consecutive_failures` and a probe: until a breaker opens, and when its first probe fails, the requests
    of a quiet channel move on. One a second is no storm; with none, a channel of four requests in ten seconds would
    never fail over.
    """
    latency_half_life: float = 30.0
    """Age at which a measured first-byte latency counts half."""
    probe_failures: int = 3
    """Active probes in a row that must fail for a channel to get no requests."""
