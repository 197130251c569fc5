"""Which budgets and destinations can be kept. Everything here raises InvalidControl, which says what to do."""

import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from tollgate_billing.domain.budgets import (
    ACTIONS,
    BLOCK,
    DOWNGRADE,
    MAX_DAYS,
    MAX_PERCENT,
    NOTIFY,
    ORGANIZATION,
    PERIODS,
    SCOPES,
    TAG,
    Budget,
    Threshold,
)
from tollgate_billing.domain.delivery import ABOUTS, BOOKS, KINDS, LANGUAGES, MAX_DIGEST_MINUTES, Destination, Quiet
from tollgate_billing.domain.signatures import standard_secret
from tollgate_billing.errors import InvalidControl
from tollgate_rating import INT64_MAX

# Where nothing is said: a word in time, and one when it is gone.
USUAL_THRESHOLDS: Final = (Threshold(80, NOTIFY), Threshold(100, NOTIFY))
_MOST_THRESHOLDS: Final = 10
_MOST_NAME: Final = 100
_MOST_ZONE: Final = 64
_MOST_TARGET: Final = 2_000
_MOST_SECRET: Final = 500
_MOST_ADDRESSES: Final = 20
_ADDRESS: Final = re.compile(r"[^@\s,<>\"\\]{1,64}@[A-Za-z0-9.-]{1,190}")
_CLOCK: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")
_SIGNED: Final = {"feishu", "dingtalk"}


def check_budget(budget: Budget) -> Budget:
    """Returns the budget with its thresholds in order, the usual ones where it has none. Raises InvalidControl."""
    _check_name(budget.name)
    _one_of("scope", budget.scope, SCOPES)
    _one_of("period", budget.period, PERIODS)
    check_zone(budget.time_zone)
    if budget.scope == ORGANIZATION and budget.scope_id:
        raise InvalidControl("a budget of the organization has no scope_id; leave it out, or set scope")
    if budget.scope != ORGANIZATION and not 0 < len(budget.scope_id) <= 256:
        raise InvalidControl(f"scope_id says which {budget.scope}, in up to 256 characters")
    if budget.scope == TAG and "," in budget.scope_id:
        raise InvalidControl("a tag is one word without commas; make a budget for each")
    if budget.period == "rolling" and not 1 <= budget.days <= MAX_DAYS:
        raise InvalidControl(f"a rolling period has days from 1 to {MAX_DAYS}")
    if budget.period != "rolling" and budget.days:
        raise InvalidControl("days belong to a rolling period; leave them out, or set period to rolling")
    if not 0 < budget.amount_pico <= INT64_MAX:
        raise InvalidControl("amount is above 0")
    return _with_thresholds(budget)


def _with_thresholds(budget: Budget) -> Budget:
    found = budget.thresholds or USUAL_THRESHOLDS
    if len(found) > _MOST_THRESHOLDS:
        raise InvalidControl(f"a budget has at most {_MOST_THRESHOLDS} thresholds")
    for one in found:
        _one_of("action", one.action, ACTIONS)
        if not 1 <= one.percent <= MAX_PERCENT:
            raise InvalidControl(f"a threshold's percent is a whole number from 1 to {MAX_PERCENT}")
        if one.action == DOWNGRADE and not 0 < len(one.model) <= 256:
            raise InvalidControl("a downgrade names the model that requests turn to")
        if one.action != DOWNGRADE and one.model:
            raise InvalidControl(f"only a downgrade names a model, not {one.action}")
    if len({(one.percent, one.action) for one in found}) != len(found):
        raise InvalidControl("a percent has each action once")
    # Of one percent the strictest comes last: it is the one that is told.
    order = {NOTIFY: 0, DOWNGRADE: 1, BLOCK: 2}
    thresholds = tuple(sorted(found, key=lambda one: (one.percent, order[one.action])))
    return Budget(
        id=budget.id,
        organization_id=budget.organization_id,
        name=budget.name,
        scope=budget.scope,
        scope_id=budget.scope_id,
        period=budget.period,
        days=budget.days,
        time_zone=budget.time_zone,
        amount_pico=budget.amount_pico,
        currency=budget.currency,
        thresholds=thresholds,
        created_us=budget.created_us,
    )


def check_destination(one: Destination) -> None:
    """Raises InvalidControl. Whether its addresses may be reached is known when they are."""
    _check_name(one.name)
    _one_of("kind", one.kind, KINDS)
    _one_of("language", one.language, LANGUAGES)
    check_zone(one.time_zone)
    for about in one.about:
        _one_of("about", about, ABOUTS)
    if BOOKS in one.about and one.organization_id:
        raise InvalidControl("the books are of no organization: leave organization_id out, or books out of about")
    if not 0 <= one.digest_minutes <= MAX_DIGEST_MINUTES:
        raise InvalidControl(f"digest_minutes is from 0 to {MAX_DIGEST_MINUTES}")
    if len(one.target) > _MOST_TARGET or len(one.secret) > _MOST_SECRET:
        raise InvalidControl(f"target has up to {_MOST_TARGET} characters, secret up to {_MOST_SECRET}")
    if one.kind == "mail":
        _check_addresses(one)
        return
    _check_url(one.target)
    if one.kind == "webhook":
        standard_secret(one.secret)
    elif one.secret and one.kind not in _SIGNED:
        raise InvalidControl(f"{one.kind} signs nothing: its URL is the secret; leave secret out")


def addresses_of(target: str) -> list[str]:
    """Returns the mail addresses of a target."""
    return [part.strip() for part in target.split(",") if part.strip()]


def _check_addresses(one: Destination) -> None:
    found = addresses_of(one.target)
    if not 1 <= len(found) <= _MOST_ADDRESSES or not all(_ADDRESS.fullmatch(part) for part in found):
        raise InvalidControl(
            f"the target of mail is 1 to {_MOST_ADDRESSES} addresses, divided by commas, such as ops@example.com"
        )
    if one.secret:
        raise InvalidControl("mail has no secret; the mail server's password is a setting of billing")


def _check_url(target: str) -> None:
    try:
        parts = urlsplit(target)
        usable = parts.scheme in {"https", "http"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or not target.isascii() or not target.isprintable() or " " in target:
        raise InvalidControl(
            "the target is the URL that the messages are posted to, such as https://hooks.example.com/x"
        )
    if parts.username is not None or parts.fragment:
        raise InvalidControl("the target has no user, password or fragment")


def check_zone(name: str) -> None:
    """Raises InvalidControl for what is no time zone."""
    try:
        known = 0 < len(name) <= _MOST_ZONE and ZoneInfo(name) is not None
    except (ZoneInfoNotFoundError, ValueError, OSError):
        known = False
    if not known:
        raise InvalidControl("time_zone is an IANA name such as UTC, Asia/Shanghai or Europe/Berlin")


def parse_quiet(begin: str, end: str) -> Quiet:
    """Returns quiet hours of HH:MM and HH:MM; none where both are empty. Raises InvalidControl."""
    if not begin and not end:
        return Quiet()
    found = [_CLOCK.fullmatch(text) for text in (begin, end)]
    minutes = [int(one[1]) * 60 + int(one[2]) for one in found if one is not None]
    if len(minutes) != 2 or minutes[0] == minutes[1]:
        raise InvalidControl("quiet hours are two different times of day such as 22:00 and 07:00")
    return Quiet(*minutes)


def _check_name(name: str) -> None:
    if not 0 < len(name) <= _MOST_NAME or name != name.strip() or not name.isprintable():
        raise InvalidControl(f"a name has 1 to {_MOST_NAME} printable characters, no blank at its ends")


def _one_of(field: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise InvalidControl(f"{field} is one of {', '.join(allowed)}, not {value[:50]!r}")
