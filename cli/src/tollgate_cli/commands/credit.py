"""`tollgate credit grant | refund | correct | transfer | line`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tollgate_cli.api import Api
from tollgate_cli.commands.tenants import organization_id
from tollgate_cli.output import print_json
from tollgate_cli.target import find_target


def move(
    home: Path | None,
    environment: Mapping[str, str],
    organization: str,
    what: str,
    body: Mapping[str, object],
    idempotency_key: str | None,
    *,
    as_json: bool,
) -> None:
    """Posts to `what` of an organization: grants, refunds or corrections. Raises Failure."""
    with Api(find_target(home, environment)) as api:
        done = api.post(_path(api, organization, what), _given(body), headers=_once(idempotency_key))
    _print(done, as_json=as_json)


def transfer(
    home: Path | None,
    environment: Mapping[str, str],
    organization: str,
    to: str,
    body: Mapping[str, object],
    idempotency_key: str | None,
    *,
    as_json: bool,
) -> None:
    """Moves money to another organization. Raises Failure."""
    with Api(find_target(home, environment)) as api:
        path = _path(api, organization, "transfers")
        done = api.post(path, _given({**body, "to": organization_id(api, to)}), headers=_once(idempotency_key))
    _print(done, as_json=as_json)


def set_line(
    home: Path | None, environment: Mapping[str, str], organization: str, amount: str, *, as_json: bool
) -> None:
    """Sets a credit line. Raises Failure."""
    with Api(find_target(home, environment)) as api:
        done = api.put(_path(api, organization, "credit-line"), {"amount": amount})
    if as_json:
        print_json(done)
    else:
        currency = done["currency"]
        print(f"The credit line is {done['amount']} {currency}; {done['balance']} {currency} may be spent.")


def _path(api: Api, organization: str, what: str) -> str:
    return f"/api/v1/organizations/{quote(organization_id(api, organization) or '', safe='')}/{what}"


def _given(body: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in body.items() if value is not None}


def _once(idempotency_key: str | None) -> dict[str, str]:
    return {"idempotency-key": idempotency_key} if idempotency_key else {}


def _print(done: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(done)
        return
    before = "Was done before: " if done["repeated"] else ""
    print(f"{before}{done['amount']} {done['currency']}. The balance is {done['balance']} {done['currency']}.")
