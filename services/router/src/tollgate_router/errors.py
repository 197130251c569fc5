"""Every way router refuses or fails that more than one of its layers knows.

Refused             the request cannot be understood, or not be said in the provider's dialect
InvalidBody         the body is no JSON object
CredentialMissing   the place that a credential names holds no usable secret
StoreUnavailable    stored responses cannot be reached or read now

What only one layer raises and catches is beside what raises it. How an upstream call failed is a value and no
exception: `domain/failure.py`.
"""


class StoreUnavailable(Exception):  # noqa: N818 - a state of the world more than a fault.
    """Stored responses cannot be reached or read now; says why, for operators."""


class InvalidBody(ValueError):  # noqa: N818
    """The body is no JSON object."""


class CredentialMissing(Exception):  # noqa: N818
    """The place that a credential names holds no usable secret; the message says which place."""


class Refused(Exception):  # noqa: N818 - what the caller sent, not a fault of ours.
    """The request cannot be understood, or not be said in the provider's dialect; `param` names the field at fault."""

    def __init__(self, message: str, param: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.param = param
