"""Every way media-jobs refuses or fails.

MediaError            for the caller: a kind of tollgate.errors.v1, a message, the parameter at fault
Unavailable           a state of the world that passes
├── StoreUnavailable  the database cannot be asked now
├── HoldsUnavailable  Redis cannot be asked now
└── BlobsUnavailable  the asset store cannot be asked now
ProviderError         one call to a provider
├── Refused           it was provably not acted on, or its answer is a plain refusal
└── AnswerLost        it may have been acted on; never sent again
FetchError            a result's address
├── FetchRefused      will not work later either
└── FetchFailed       may work later
Invalid               a parameter that cannot be used; the message says what is allowed
NotAnImage            bytes that are no whole image of a kind that is kept
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a job failed: `kind` is a number of `tollgate.errors.v1.ErrorKind`, the message is for the caller."""

    kind: int
    message: str
    param: str = ""
    code: str = ""


class MediaError(Exception):
    """Crosses gRPC as `tollgate.errors.v1.Error`. `kind` is a number of its ErrorKind."""

    def __init__(self, kind: int, message: str, *, param: str = "", code: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.param = param
        self.code = code


class Unavailable(Exception):  # noqa: N818 - a state of the world more than a fault.
    """Something behind this service is away."""


class StoreUnavailable(Unavailable):
    """The database cannot be asked now."""


class HoldsUnavailable(Unavailable):
    """Redis cannot be asked now."""


class BlobsUnavailable(Unavailable):
    """The asset store cannot be asked now."""


class ProviderError(Exception):
    """`status` is the provider's, 0 when none came; `detail` is for operators only."""

    def __init__(self, detail: str, *, status: int = 0) -> None:
        super().__init__(detail)
        self.detail = detail
        self.status = status


class Refused(ProviderError):  # noqa: N818
    """A clean refusal. `elsewhere`: another channel may do better; `again_seconds`: so may this one after a pause."""

    def __init__(
        self,
        failure: Failure,
        *,
        detail: str,
        status: int = 0,
        elsewhere: bool = False,
        again_seconds: float | None = None,
    ) -> None:
        super().__init__(detail, status=status)
        self.failure = failure
        self.elsewhere = elsewhere
        self.again_seconds = again_seconds


class AnswerLost(ProviderError):  # noqa: N818
    """The request may have been acted on and nobody can tell. `timed_out`: it took too long."""

    def __init__(self, detail: str, *, status: int = 0, timed_out: bool = False) -> None:
        super().__init__(detail, status=status)
        self.timed_out = timed_out


class FetchError(Exception):
    """A result could not be fetched."""


class FetchRefused(FetchError):  # noqa: N818
    """It will not work later either."""


class FetchFailed(FetchError):  # noqa: N818
    """It may work later."""


class NotAnImage(ValueError):  # noqa: N818 - a finding more than a fault.
    """The bytes are no whole image of a kind that is kept."""


class Invalid(ValueError):  # noqa: N818 - a refusal more than a fault.
    """A parameter that cannot be used; the message says what is allowed."""

    def __init__(self, param: str, message: str) -> None:
        super().__init__(message)
        self.param = param
        self.message = message
