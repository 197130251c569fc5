"""All channels by name. It outlives configuration versions: what a channel has shown is not forgotten by a publish."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet

from tollgate_router.domain.health.channel import ChannelHealth
from tollgate_router.domain.health.policy import HealthPolicy
from tollgate_router.domain.health.states import Change, Mode, Obstacle


def _ignore(_: Change) -> None:
    pass


class Health:
    """`notify` is told what operators want to know; `modes` is what they have said, by channel, with their reason."""

    def __init__(
        self,
        policy: HealthPolicy | None = None,
        notify: Callable[[Change], None] = _ignore,
        modes: Mapping[str, tuple[Mode, str]] | None = None,
    ) -> None:
        self.policy = policy or HealthPolicy()
        self.modes = dict(modes or {})
        self._notify = notify
        self._channels: dict[tuple[str, str], ChannelHealth] = {}

    def channel(self, name: str, address: str) -> ChannelHealth:
        """Returns the health of a channel; one that moved to another address begins anew."""
        found = self._channels.get((name, address))
        if found is None:
            found = self._channels[name, address] = ChannelHealth(name, self.policy, self._notify)
            if name in self.modes:
                found.set_mode(*self.modes[name])
        return found

    def channels(self) -> Iterable[ChannelHealth]:
        """Returns every channel of the configuration in force."""
        return self._channels.values()

    def held(self, now: float) -> Counter[tuple[str, str]]:
        """Returns how much of each channel is held back and why: the channel as a whole, credentials and breakers."""
        found: Counter[tuple[str, str]] = Counter()
        for channel in self._channels.values():
            if channel.mode is not Mode.ENABLED:
                found[channel.name, channel.mode.value] += 1
            if channel.probe_problem:
                found[channel.name, Obstacle.PROBE_FAILS.value] += 1
            if channel.full(now) is not None:
                found[channel.name, Obstacle.FULL.value] += 1
            found[channel.name, Obstacle.BENCHED.value] += sum(key.until > now for key in channel.keys.values())
            found[channel.name, Obstacle.BREAKER_OPEN.value] += sum(
                model.breaker.until > now for model in channel.models.values()
            )
        return +found

    def extra_attempts(self) -> dict[tuple[str, str], int]:
        """Returns how many extra attempts failures have caused, by channel and reason."""
        return {
            (channel.name, reason): count
            for channel in self._channels.values()
            for reason, count in channel.extra_attempts.items()
        }

    def retain(self, used: Mapping[ChannelHealth, AbstractSet[str]]) -> None:
        """Forgets the channels that the configuration in force does not hold, and their upstream models likewise."""
        for channel in self._channels.values():
            if channel not in used:
                channel.dissolve()
        self._channels = {key: channel for key, channel in self._channels.items() if channel in used}
        for channel in self._channels.values():
            channel.retain(used[channel])

    def set_mode(self, name: str, mode: Mode, reason: str) -> None:
        """An operator's word on a channel, kept for when the configuration has it, or has it again."""
        if mode is Mode.ENABLED:
            self.modes.pop(name, None)
        else:
            self.modes[name] = (mode, reason)
        for channel in self._channels.values():
            if channel.name == name:
                channel.set_mode(mode, reason)
