"""Every way billing refuses or waits.

BillingError
├── Unavailable              something behind billing is away; the same call may be repeated
│   ├── UsageStoreUnavailable
│   ├── LedgerUnavailable
│   └── WalletsUnavailable
├── InvalidQuery             a question that cannot be asked; the message says what is allowed
├── UnknownView              no question is called that
├── NotAllowed               a question for operators
└── InvalidGrant             a grant that cannot be made; the message says why
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
    """A question about usage that cannot be asked."""


class UnknownView(BillingError, LookupError):  # noqa: N818
    """No kept question has this name."""


class NotAllowed(BillingError):  # noqa: N818
    """Only operators may ask this."""


class InvalidGrant(BillingError, ValueError):  # noqa: N818
    """A grant that cannot be made."""
