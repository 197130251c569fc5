"""When a message leaves: gathered, kept through quiet hours, tried again."""

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

KINDS: Final = ("mail", "webhook", "feishu", "dingtalk", "wecom", "slack")
LANGUAGES: Final = ("en", "zh")
BOOKS: Final = "books"
ABOUTS: Final = ("budget", "anomaly", BOOKS)
MAX_DIGEST_MINUTES: Final = 7 * 24 * 60
# After each of these there is another attempt: for somewhat more than a day in all.
_PAUSES_SECONDS: Final = (5, 30, 120, 600, 1_800, 3_600, 7_200, 14_400, 28_800, 43_200)
_MINUTE_US: Final = 60_000_000


@dataclass(frozen=True, slots=True)
class Quiet:
    """From `begin` to `end`, minutes of the day, nothing is sent; the end may be on the next day. Equal: never."""

    begin: int = 0
    end: int = 0


@dataclass(frozen=True, slots=True)
class Destination:
    """Who is told. `target` is a URL or mail addresses; it and `secret` never leave billing but to be used.

    `organization_id` is empty for what concerns any, and for what concerns none: the books. `about` is empty for
    everything.
    """

    id: str
    organization_id: str
    name: str
    kind: str
    target: str
    secret: str = ""
    language: str = "en"
    time_zone: str = "UTC"
    quiet: Quiet = Quiet()
    digest_minutes: int = 0
    about: tuple[str, ...] = ()
    created_us: int = 0
    # Why target and secret are not known here; empty where they are.
    problem: str = ""

    def wants(self, organization_id: str, about: str) -> bool:
        """Says whether something about this organization is for it."""
        return self.organization_id in {"", organization_id} and (not self.about or about in self.about)


def due_at(destination: Destination, now_us: int) -> int:
    """Returns when something that is new now is sent: at once, or at the end of the present digest."""
    if not destination.digest_minutes:
        return now_us
    span = destination.digest_minutes * _MINUTE_US
    return (now_us // span + 1) * span


def loud_at(destination: Destination, now_us: int) -> int:
    """Returns the first moment from now on that is not in quiet hours."""
    quiet = destination.quiet
    if quiet.begin == quiet.end:
        return now_us
    zone = ZoneInfo(destination.time_zone)
    now = datetime.fromtimestamp(now_us / 1e6, UTC).astimezone(zone)
    minute = now.hour * 60 + now.minute
    over_midnight = quiet.begin > quiet.end
    inside = (minute >= quiet.begin or minute < quiet.end) if over_midnight else quiet.begin <= minute < quiet.end
    if not inside:
        return now_us
    day = now.date() + timedelta(days=1 if over_midnight and minute >= quiet.begin else 0)
    end = datetime.combine(day, time(quiet.end // 60, quiet.end % 60), zone)
    # On the day that clocks are put back, the end comes twice; the later one is surely outside.
    found = int(end.timestamp()) * 1_000_000
    return found if found > now_us else int(end.replace(fold=1).timestamp()) * 1_000_000


def retry_at(attempts: int, now_us: int, retry_after_seconds: int = 0) -> int:
    """Returns when to try again after so many attempts failed; 0 for not again."""
    if attempts > len(_PAUSES_SECONDS):
        return 0
    pause = max(_PAUSES_SECONDS[max(1, attempts) - 1], min(retry_after_seconds, _PAUSES_SECONDS[-1]))
    return now_us + pause * 1_000_000
