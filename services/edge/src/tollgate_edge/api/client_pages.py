"""Balances, prices and the state of the gateway in the shapes that chat clients and other gateways ask for.

OpenAI's old billing pages (`dashboard/billing/…`), New API's and One API's (`api/usage/token`, `api/pricing`,
`api/status`, `api/user/self`) and DeepSeek's (`user/balance`). All but `api/status` want a key.
"""

from decimal import ROUND_FLOOR, Decimal
from importlib.metadata import version
from typing import Any, Final

import msgspec
from fastapi import APIRouter, Request, Response

from tollgate_edge.api.context import HttpContext
from tollgate_edge.api.key_balance import USD, KeyBalance, in_usd, key_balance
from tollgate_edge.api.models import endpoint_types, may_use
from tollgate_edge.domain.principal import Principal
from tollgate_edge.ports import EdgeModel, EdgeVersion
from tollgate_rating import ModelPrice, NoRate, RateTable, Unpriced

# What New API and One API say of a key that nothing limits, and clients show as such.
UNLIMITED_USD: Final = Decimal(100_000_000)
QUOTA_PER_USD: Final = 500_000
# A ratio of New API is this many dollars for a million tokens.
_USD_PER_RATIO: Final = 2
_SYSTEM: Final = "Tollgate"
_DEEPSEEK_CURRENCIES: Final = frozenset({"CNY", USD})
_CENT: Final = Decimal("0.01")
_JSON: Final = msgspec.json.Encoder(decimal_format="number")


def client_pages_router(context: HttpContext) -> APIRouter:
    """Returns the routes, those of OpenAI and DeepSeek with and without /v1."""
    router = APIRouter()
    _add_billing(router, context)
    _add_deepseek(router, context)
    _add_newapi(router, context)
    _add_public(router, context)
    return router


def _add_billing(router: APIRouter, context: HttpContext) -> None:
    @router.get("/v1/dashboard/billing/subscription", summary="What a key may spend in all, in USD")
    @router.get("/dashboard/billing/subscription", include_in_schema=False)
    async def subscription(request: Request) -> Response:
        principal = await context.caller(request)
        found = await _usd(context, principal)
        limit = UNLIMITED_USD if found.remaining is None else found.used + found.remaining
        return _reply(
            {
                "object": "billing_subscription",
                "has_payment_method": True,
                "soft_limit_usd": _number(limit),
                "hard_limit_usd": _number(limit),
                "system_hard_limit_usd": _number(limit),
                "access_until": (await _key_facts(context, principal))["expires_at"],
            }
        )

    # Clients send dates, and reckon balance = limit - usage: the two must be of the same time, so that all is counted.
    @router.get("/v1/dashboard/billing/usage", summary="What a key has used, in hundredths of USD")
    @router.get("/dashboard/billing/usage", include_in_schema=False)
    async def usage(request: Request) -> Response:
        found = await _usd(context, await context.caller(request))
        return _reply({"object": "list", "total_usage": _number(found.used * 100)})


def _add_deepseek(router: APIRouter, context: HttpContext) -> None:
    @router.get("/user/balance", summary="What a key may still spend, as DeepSeek says it")
    @router.get("/v1/user/balance", include_in_schema=False)
    async def balance(request: Request) -> Response:
        principal = await context.caller(request)
        found = await key_balance(context, principal)
        if found.currency not in _DEEPSEEK_CURRENCIES:
            found = in_usd(found, _rates(context), context.clock.now_us())
        left = UNLIMITED_USD if found.remaining is None else found.remaining
        words = _two_places(left)
        info = {"currency": found.currency, "total_balance": words, "granted_balance": "0.00"}
        return _reply(
            {
                "is_available": left > 0,
                "balance_infos": [{**info, "topped_up_balance": words}],
                # CC Switch reads these two.
                "is_active": left > 0,
                "balance": _number(left),
            }
        )


def _add_newapi(router: APIRouter, context: HttpContext) -> None:
    @router.get("/api/usage/token", summary="What a key has used and may still use, as New API says it")
    @router.get("/api/usage/token/", include_in_schema=False)
    async def token(request: Request) -> Response:
        principal = await context.caller(request)
        found = await _usd(context, principal)
        used, left = _quota(found.used), _quota(found.remaining or Decimal(0))
        facts = await _key_facts(context, principal)
        data = {
            "object": "token_usage",
            "name": facts["name"],
            "total_granted": used + left,
            "total_used": used,
            "total_available": left,
            "unlimited_quota": found.remaining is None,
            "model_limits": dict.fromkeys(sorted(principal.models or ()), True),
            "model_limits_enabled": principal.models is not None,
            "expires_at": facts["expires_at"],
        }
        return _reply({"code": True, "message": "ok", "data": data})

    @router.get("/api/user/self", summary="Whose a key is and what is left, as New API says it")
    async def myself(request: Request) -> Response:
        principal = await context.caller(request)
        found = await _usd(context, principal)
        left = UNLIMITED_USD if found.remaining is None else found.remaining
        data = {
            "id": 1,
            "username": principal.organization_id,
            "display_name": principal.organization_id,
            "group": principal.price_group,
            "quota": _quota(left),
            "used_quota": _quota(found.used),
        }
        return _reply({"success": True, "message": "", "data": data})

    @router.get("/api/pricing", summary="Prices of the models of a key, as New API says them")
    async def pricing(request: Request) -> Response:
        principal = await context.caller(request)
        current, group = context.version.current(), principal.price_group
        data = [] if current is None else _prices(current, principal, context.clock.now_us())
        return _reply({"success": True, "data": data, "group_ratio": {group: 1}, "usable_group": {group: group}})


def _add_public(router: APIRouter, context: HttpContext) -> None:
    started_s = context.clock.now_us() // 1_000_000
    release = version("tollgate-edge")

    @router.get("/api/status", summary="What this gateway is, as New API and One API say it")
    async def status(request: Request) -> Response:
        off = dict.fromkeys(("email_verification", "github_oauth", "turnstile_check", "wechat_login"), False)
        data = {
            "system_name": _SYSTEM,
            "version": release,
            "start_time": started_s,
            "server_address": context.base_url(request),
            "quota_per_unit": QUOTA_PER_USD,
            "display_in_currency": True,
            "setup": True,
            **dict.fromkeys(("logo", "footer_html", "top_up_link"), ""),
            **off,
        }
        return _reply({"success": True, "message": "", "data": data})


async def _usd(context: HttpContext, principal: Principal) -> KeyBalance:
    return in_usd(await key_balance(context, principal), _rates(context), context.clock.now_us())


async def _key_facts(context: HttpContext, principal: Principal) -> dict[str, Any]:
    """Returns the key's name, and when it expires in seconds since the epoch, 0 for never."""
    record = await context.keys.key(principal.api_key_id)
    if record is None:
        return {"name": principal.api_key_id, "expires_at": 0}
    return {"name": record.name, "expires_at": record.expires_at_us // 1_000_000}


def _rates(context: HttpContext) -> RateTable:
    current = context.version.current()
    return current.price_table.rates if current is not None else RateTable()


def _prices(current: EdgeVersion, principal: Principal, now_us: int) -> list[dict[str, Any]]:
    found = []
    for model in current.models_of(principal.route_group):
        if may_use(principal, model.name):
            try:
                price = current.price_table.find(model.name, principal.price_group, now_us, USD)
            except NoRate:
                continue
            if price is not None:
                found.append(_price(model, price, principal.price_group))
    return found


def _price(model: EdgeModel, price: ModelPrice, group: str) -> dict[str, Any]:
    """Returns the price as ratios: by token where tokens of input have one, else for each call."""
    into, out = _unit(price, "input"), _unit(price, "output")
    by_call = into is None
    shown: dict[str, Any] = {
        "model_name": model.name,
        "quota_type": int(by_call),
        "model_ratio": _number((into or Decimal(0)) / _USD_PER_RATIO),
        "model_price": _number(_per_call(price)) if by_call else 0,
        "completion_ratio": _number(out / into) if into and out is not None else 1,
        "owner_by": model.owned_by,
        "enable_groups": [group],
        "supported_endpoint_types": endpoint_types(model),
    }
    return shown


def _per_call(price: ModelPrice) -> Decimal:
    return _unit(price, "request") or _unit(price, "image") or Decimal(0)


def _unit(price: ModelPrice, unit: str) -> Decimal | None:
    try:
        return Decimal(price.unit_price(unit))
    except Unpriced:
        return None


def _quota(usd: Decimal) -> int:
    """Returns units of New API, rounded down: what is shown is there."""
    return int((usd * QUOTA_PER_USD).to_integral_value(ROUND_FLOOR))


def _two_places(amount: Decimal) -> str:
    return str(amount.quantize(_CENT, ROUND_FLOOR))


def _number(amount: Decimal) -> Decimal:
    """Returns a number of JSON without an exponent, which some clients do not read, to 1e-12 at most."""
    return Decimal(format(amount.quantize(Decimal(1).scaleb(-12)).normalize(), "f"))


def _reply(content: dict[str, Any]) -> Response:
    headers = {"cache-control": "no-store"}
    return Response(_JSON.encode(content), headers=headers, media_type="application/json")
