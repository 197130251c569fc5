"""What sums and lists of usage can be asked for: the same query parameters everywhere."""

from dataclasses import dataclass, fields
from typing import Annotated, Final

from fastapi import Depends, Query

from tollgate.billing.v1 import billing_pb2 as billing
from tollgate.errors.v1 import errors_pb2 as errors
from tollgate_edge.api.reading import ShortText
from tollgate_edge.api.rendering import parse_time
from tollgate_edge.domain.principal import Principal
from tollgate_edge.errors import public_error


@dataclass(frozen=True, slots=True)
class UsageQuery:
    """Empty leaves a condition out; times are as they were written."""

    organization_id: ShortText = ""
    project_id: ShortText = ""
    api_key_id: ShortText = ""
    member: ShortText = ""
    tag: ShortText = ""
    model: ShortText = ""
    since: Annotated[str, Query(alias="from", max_length=40)] = ""
    until: Annotated[str, Query(alias="to", max_length=40)] = ""


Asked = Annotated[UsageQuery, Depends()]
# What goes to billing as it came, under the same name.
_SAME: Final = tuple(
    field.name for field in fields(UsageQuery) if field.name in billing.UsageFilter.DESCRIPTOR.fields_by_name
)


def usage_filter(principal: Principal, asked: UsageQuery) -> billing.UsageFilter:
    """Returns what a caller asks for; those who are no operators see their own organization. Raises PublicError."""
    organization_id = asked.organization_id
    if not principal.is_operator:
        if organization_id not in {"", principal.organization_id}:
            raise public_error(errors.ERROR_KIND_FORBIDDEN, "This key belongs to another organization.")
        organization_id = principal.organization_id
    given = {name: getattr(asked, name) for name in _SAME} | {"organization_id": organization_id}
    return billing.UsageFilter(
        **given,
        from_us=parse_time(asked.since, "from"),
        to_us=parse_time(asked.until, "to"),
    )
