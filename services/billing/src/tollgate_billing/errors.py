"""Every way billing refuses or waits.

BillingError
├── Unavailable              something behind billing is away; the same call may be repeated
│   ├── UsageStoreUnavailable
│   ├── LedgerUnavailable
│   └── WalletsUnavailable
├── InvalidQuery             a question that cannot be asked; the message says what is allowed
├── InvalidGrant             a grant that cannot be made; the message says why
├── InvalidMove              money that cannot be moved so; the message says why
├── KeyReused                an idempotency key that was used for something else
├── Unsigned                 a message that its sender did not sign, or too long ago
├── InvalidControl           a budget or destination that cannot be; the message says why
├── NameTaken                a name that another budget or destination has
├── NotFound                 something is named that is not there
├── UnknownView              no question is called that
├── NotAllowed               a question for operators
└── TooManyGuesses           too many wrong codes; `retry_after_us` says for how long
BadSignature                 nobody who knows the secret sent this message of a payment provider just now
BadMessage                   signed, and still no message about a payment
LedgerRefused                the ledger cannot take a batch, however often it is tried; the message says why
Poison                       a record is no usage event that can be booked; the message says why
TooMuchPoison                more of them on end than are set aside without somebody who looks
"""


class BillingError(Exception):
    """What all of these derive from."""


class Unavailable(BillingError):  # noqa: N818 - a state of the world more than a fault.
    """Something behind billing is away. Whether a write was kept is not known; every write here may be repeated."""


class UsageStoreUnavailable(Unavailable):
    """ClickHouse or chDB refused or cannot be reached."""


class LedgerUnavailable(Unavailable):
    """The SQL database cannot be reached."""


class WalletsUnavailable(Unavailable):
    """Redis cannot be reached."""


class InvalidQuery(BillingError, ValueError):  # noqa: N818
    """A question about usage that cannot be asked. `param` is what is wrong with it, empty where that has no name."""

    def __init__(self, message: str, param: str = "") -> None:
        super().__init__(message)
        self.param = param


class UnknownView(BillingError, LookupError):  # noqa: N818
    """No kept question has this name."""


class NotAllowed(BillingError):  # noqa: N818
    """Only operators may ask this."""


class InvalidGrant(BillingError, ValueError):  # noqa: N818
    """A grant that cannot be made."""


class InvalidMove(BillingError, ValueError):  # noqa: N818
    """Money that cannot be moved so."""


class KeyReused(BillingError):  # noqa: N818
    """An idempotency key that was used for something else."""


class Unsigned(BillingError):  # noqa: N818
    """A message that its sender did not sign, or too long ago."""


class InvalidControl(BillingError, ValueError):  # noqa: N818
    """A budget or destination that cannot be kept."""


class NameTaken(BillingError):  # noqa: N818
    """A name that another one has."""


class NotFound(BillingError, LookupError):  # noqa: N818
    """Something is named that is not there."""


class TooManyGuesses(BillingError):  # noqa: N818
    """Too many wrong codes of one organization."""

    def __init__(self, retry_after_us: int) -> None:
        super().__init__("too many codes that were wrong; wait and check what was sent")
        self.retry_after_us = retry_after_us


class BadSignature(ValueError):  # noqa: N818
    """Nobody who knows the secret sent this just now; the message says which part is wrong, and no secret."""


class BadMessage(ValueError):  # noqa: N818
    """Signed, and still no message about a payment."""


class Poison(ValueError):  # noqa: N818 - what it is called everywhere else.
    """The record is no usage event that can be booked; the message says why."""


class LedgerRefused(ValueError):  # noqa: N818 - of a batch more than of the ledger.
    """What a batch moves is nothing that the ledger's tables can keep; the same batch will be refused again."""


class TooMuchPoison(Exception):  # noqa: N818 - a state of the log more than a fault.
    """More records of a partition on end cannot be used than are set aside without somebody who looks at them."""
