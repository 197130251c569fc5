"""What the use cases need from outside. Everything here may raise `errors.Unavailable` unless it says otherwise."""

import enum
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from tollgate_media_jobs.domain.channels import Target, Version
from tollgate_media_jobs.domain.job import Asset, Attempt, ImageRequest, Job, Message, Move, Reported
from tollgate_rating import PriceBook


@dataclass(frozen=True, slots=True)
class Created:
    """The job of a request; `is_new` is False when it was there before, by request id or idempotency key."""

    job: Job
    is_new: bool


class Jobs(Protocol):
    """Jobs with their attempts, events and assets."""

    async def create(self, job: Job) -> Created:
        """Stores a job once per request id and per (organization, idempotency key)."""
        ...

    async def find_earlier(self, organization_id: str, request_id: str, idempotency_key: str) -> Job | None:
        """Returns the job of this request id or, failing that, of this key (empty: none)."""
        ...

    async def get(self, organization_id: str, project_id: str, job_id: str) -> Job | None:
        """Returns the job where it belongs to the organization and the project (empty: any of its projects)."""
        ...

    async def list(
        self, organization_id: str, project_id: str, limit: int, before: tuple[int, str] | None
    ) -> Sequence[Job]:
        """Returns jobs, newest first, that come after (creation, id) in that order."""
        ...

    async def assets_of(self, job_ids: Sequence[str]) -> Sequence[Asset]:
        """Returns the assets of these jobs, by job and index."""
        ...

    async def find_asset(self, organization_id: str, project_id: str, asset_id: str) -> Asset | None:
        """Returns the asset where it belongs to the organization and the project (empty: any of its projects)."""
        ...

    async def attempt(self, job_id: str, number: int) -> Attempt | None:
        """Returns one attempt."""
        ...

    async def move(self, move: Move) -> bool:
        """Writes state, job event, attempt, assets and outbox together, if the job still is as it was read.

        False: somebody else moved it first, and nothing was written.
        """
        ...

    async def note_late_answer(self, job: Job, at_us: int, detail: str) -> None:
        """Writes down that an answer came after the job had ended; its state stays."""
        ...


class Queue(Protocol):
    """Who works on what. Leases spare double work; the swap in `Jobs.move` is what makes it correct."""

    async def claim(self, owner: str, limit: int, now_us: int, until_us: int) -> Sequence[Job]:
        """Leases up to `limit` jobs that are due and free, in turn by organization, then oldest first."""
        ...

    async def renew(self, owner: str, job_ids: Sequence[str], until_us: int) -> None:
        """Moves the end of leases that `owner` still has."""
        ...

    async def let_go(self, owner: str, job_id: str, due_at_us: int, *, ingest_failed: bool) -> None:
        """Ends a lease; the job is due again at `due_at_us`. `ingest_failed` counts one more try to copy results."""
        ...

    async def waiting(self) -> Sequence[Job]:
        """Returns all jobs that have not ended, for the renewal of their holds."""
        ...

    async def counts(self) -> dict[int, int]:
        """Returns how many jobs are in each state that is not terminal."""
        ...


class Books(Protocol):
    """Price books by content address: a job is charged by the one in force when it was created."""

    async def keep(self, book: PriceBook) -> None:
        """Keeps the book; keeping it again does nothing."""
        ...

    async def find(self, digest: str) -> PriceBook | None:
        """Returns the book."""
        ...


@dataclass(frozen=True, slots=True)
class Parcel:
    """An outbox row. `tries` counts earlier takings, so that more than 0 is a repetition."""

    id: int
    message: Message
    tries: int


class Outbox(Protocol):
    """What was written with a transition and has to leave."""

    async def take(self, limit: int, now_us: int, until_us: int) -> Sequence[Parcel]:
        """Returns the oldest rows that nobody else has taken; they are ours until `until_us`."""
        ...

    async def remove(self, ids: Sequence[int]) -> None:
        """Forgets rows that have left."""
        ...

    async def depth(self) -> int:
        """Returns how many rows wait."""
        ...


class EventLog(Protocol):
    """The log of events."""

    async def send(self, messages: Sequence[tuple[Message, bytes]]) -> None:
        """Returns once the log has all (message, payload) durably."""
        ...


class HoldState(enum.Enum):
    HELD = "held"
    INSUFFICIENT = "insufficient"
    NO_WALLET = "no_wallet"
    # A limit has no room, or a budget too little left.
    OVER_LIMIT = "over_limit"
    # Released before, or never there.
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Held:
    """What became of a hold; `verdict` is what `admit.lua` replies to one within limits, else empty."""

    state: HoldState
    verdict: tuple[int, ...] = ()

    @property
    def second(self) -> int:
        """The second it was counted in, by Redis' clock; 0 where it was not."""
        return self.verdict[1] if self.verdict else 0


class Holds(Protocol):
    """Money set aside and places taken; the id of a hold is the job's request id."""

    async def hold(self, job: Job, *, prepaid: bool) -> Held:
        """Reserves the job's amount within the limits of its tenant, or repeats an earlier reservation."""
        ...

    async def renew(self, job: Job) -> HoldState:
        """Moves the expiry of money and places: HELD or GONE."""
        ...

    async def release(self, job: Job) -> None:
        """Gives back what work holds that never began; it counts nowhere then."""
        ...

    async def finish(self, job: Job, tokens: int) -> None:
        """Gives back the places of a job that ended; it used so many tokens, and cost its charge."""
        ...


class Versions(Protocol):
    """The configuration in force."""

    def current(self) -> Version | None:
        """Returns the version; None before the first has arrived. Does no I/O and raises nothing."""
        ...


@dataclass(frozen=True, slots=True)
class Drawn:
    """One result of a call: its bytes, or the address that they can be read from."""

    data: bytes = b""
    url: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a provider answered; at least one result."""

    status: int
    drawn: Sequence[Drawn]
    reported: Reported


class ImageProvider(Protocol):
    """Calls a provider once."""

    async def generate(self, target: Target, image: ImageRequest, files: Sequence[bytes] = ()) -> Answer:
        """Returns the results; `files` are the bytes of the sources. Raises Refused or AnswerLost, nothing else."""
        ...


class Fetcher(Protocol):
    """Reads what a provider's answer points to."""

    async def fetch(self, url: str, *, private_network: bool) -> bytes:
        """Returns the bytes at an address, within its limits of size and time. Raises FetchRefused or FetchFailed."""
        ...


class Blobs(Protocol):
    """Bytes by key."""

    async def put(self, key: str, data: bytes, content_type: str) -> None:
        """Stores the bytes; the key's earlier ones are replaced as a whole."""
        ...

    async def get(self, key: str) -> bytes | None:
        """Returns all bytes of a key."""
        ...

    def read(self, key: str) -> AsyncIterator[bytes]:
        """Yields the bytes of a key in pieces of 64 KiB, the last one shorter."""
        ...

    async def remove_below(self, prefix: str) -> None:
        """Removes every key below a prefix."""
        ...


class Failpoints(Protocol):
    """Places at which a crash test ends the process."""

    def reach(self, name: str) -> None:
        """Is called when a place is reached. Raises nothing."""
        ...
