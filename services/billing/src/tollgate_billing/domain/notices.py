"""What people are told, in the language of the destination: of budgets, of anomalies, of the books, and of a test."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from tollgate_billing.domain.alerts import alert_body, alert_title
from tollgate_rating import format_decimal

_SCOPES_ZH: Final = {
    "organization": "组织",
    "project": "项目",
    "member": "成员",
    "key": "密钥",
    "model": "模型",
    "tag": "标签",
}


def title(facts: Sequence[Mapping[str, Any]], language: str) -> str:
    """Returns the first line of a message about these facts."""
    if len(facts) == 1:
        return _TITLES[str(facts[0]["about"])](facts[0], language)
    return f"Tollgate：{len(facts)} 条通知" if language == "zh" else f"Tollgate: {len(facts)} notices"


def paragraph(fact: Mapping[str, Any], language: str, time_zone: str) -> str:
    """Returns what happened, to whom, and what to do, in a few lines."""
    return "\n".join(_BODIES[str(fact["about"])](fact, language, ZoneInfo(time_zone)))


def _budget_title(fact: Mapping[str, Any], language: str) -> str:
    if language == "zh":
        done = {"block": "，请求已被拒绝", "downgrade": f"，请求已改用 {fact['model']}"}.get(fact["action"], "")
        return f"预算“{fact['budget']}”已达 {fact['percent']}%{done}"
    done = {"block": ": requests are refused", "downgrade": f": requests turn to {fact['model']}"}.get(
        fact["action"], ""
    )
    return f"Budget {fact['budget']} has reached {fact['percent']} %{done}"


def _budget_body(fact: Mapping[str, Any], language: str, zone: ZoneInfo) -> list[str]:
    spent, amount = format_decimal(fact["spent_pico"]), format_decimal(fact["amount_pico"])
    currency, whose = fact["currency"], _whose(fact, language)
    lines = []
    if language == "zh":
        lines.append(f"{whose}在 {_window(fact, language)}内已花费 {spent} {currency}，预算为 {amount} {currency}。")
        if fact["action"]:
            end = f"到 {_moment(fact['opens_us'], zone)} 恢复" if fact["opens_us"] else "在修改预算之前不会自动恢复"
            what = "新请求被拒绝" if fact["action"] == "block" else f"新请求改用模型 {fact['model']}"
            lines.append(f"{what}，{end}。")
        elif fact["runs_out_us"]:
            lines.append(f"按最近 24 小时的速度，预算将在 {_moment(fact['runs_out_us'], zone)} 用完。")
        if fact["wallet_runs_out_us"]:
            lines.append(f"按此速度，该组织的余额将在 {_moment(fact['wallet_runs_out_us'], zone)} 用完。")
        lines.append(f"查看：tollgate budgets show {fact['budget_id']}")
        return lines
    lines.append(f"{whose} has spent {spent} {currency} of {amount} {currency} in {_window(fact, language)}.")
    if fact["action"]:
        end = f"until {_moment(fact['opens_us'], zone)}" if fact["opens_us"] else "until somebody changes the budget"
        what = "New requests are refused" if fact["action"] == "block" else f"New requests turn to {fact['model']}"
        lines.append(f"{what} {end}.")
    elif fact["runs_out_us"]:
        lines.append(f"At the pace of the last 24 hours it is used up on {_moment(fact['runs_out_us'], zone)}.")
    if fact["wallet_runs_out_us"]:
        lines.append(f"At this pace the organization's money lasts until {_moment(fact['wallet_runs_out_us'], zone)}.")
    lines.append(f"See: tollgate budgets show {fact['budget_id']}")
    return lines


def _whose(fact: Mapping[str, Any], language: str) -> str:
    scope, name = fact["scope"], fact["scope_id"] or fact["organization_id"]
    return f"{_SCOPES_ZH[scope]} {name} " if language == "zh" else f"{scope.capitalize()} {name}"


def _window(fact: Mapping[str, Any], language: str) -> str:
    period, name, days = fact["period"], fact["window"], fact["days"]
    if language == "zh":
        return {
            "day": f"{name} 当天",
            "week": f"{name} 起的一周",
            "month": f"{name[:7]} 月",
            "total": "全部时间",
            "rolling": f"最近 {days} 天",
        }[period]
    return {
        "day": f"the day {name}",
        "week": f"the week from {name}",
        "month": f"the month {name[:7]}",
        "total": "all time",
        "rolling": f"the last {days} days",
    }[period]


def explain(kind: str, subject: str, numbers: Mapping[str, Any], language: str = "en") -> str:
    """Returns what was seen in an hour and what is usual: how an anomaly was judged."""
    return _EXPLAIN[kind](subject, numbers, language)


def _spend(_subject: str, numbers: Mapping[str, Any], language: str) -> str:
    spent, usual, most = (format_decimal(numbers[f"{name}_pico"]) for name in ("spent", "usual", "most"))
    currency, hours = numbers["currency"], numbers["hours"]
    # Anomalies from before this release, and those of a key's first week, know no weeks.
    weeks = numbers.get("weeks", 0)
    if language == "zh":
        before = f"过去 14 天中有使用的 {hours} 个小时里，中位数为 {usual}"
        then = f"过去 {weeks} 周的同一时段最高为 {most}" if weeks else f"最高为 {most}"
        return f"一小时内花费 {spent} {currency}；{before}，{then}。"
    then = f"the most {most}"
    if weeks:
        then = f"at this hour of the week it spent at most {most} in the {_weeks(weeks)} before"
    return (
        f"spent {spent} {currency} in an hour; in the {hours} hours with use of the 14 days before, "
        f"the median was {usual} and {then}"
    )


def _weeks(count: int) -> str:
    return "week" if count == 1 else f"{count} weeks"


def _errors(_subject: str, numbers: Mapping[str, Any], language: str) -> str:
    failed, asked, usual = numbers["errors"], numbers["requests"], numbers["usual_percent"]
    if language == "zh":
        return f"一小时内 {asked} 个请求中有 {failed} 个失败；过去 14 天的失败率为 {usual}%。"
    return f"{failed} of {asked} requests in an hour failed; in the 14 days before it was {usual} %"


def _new_model(subject: str, numbers: Mapping[str, Any], language: str) -> str:
    before = ", ".join(numbers["models"])
    if language == "zh":
        return f"首次使用模型 {subject}；过去 14 天只使用过：{before}。"
    return f"used {subject} for the first time; in the 14 days before it used only {before}"


def _new_address(subject: str, numbers: Mapping[str, Any], language: str) -> str:
    before = ", ".join(numbers["networks"])
    if language == "zh":
        return f"首次从网络 {subject} 使用；过去 14 天只来自：{before}。"
    return f"was used from the network {subject} for the first time; in the 14 days before only from {before}"


def _repeated_prompt(_subject: str, numbers: Mapping[str, Any], language: str) -> str:
    spent, currency = format_decimal(numbers["spent_pico"]), numbers["currency"]
    asked, most = numbers["requests"], numbers["most_before"]
    if language == "zh":
        return f"一小时内把同一个请求发送了 {asked} 次，花费 {spent} {currency}；过去 14 天每小时最多 {most} 次。"
    return (
        f"sent one request {asked} times in an hour, for {spent} {currency}; "
        f"in the 14 days before at most {most} times an hour"
    )


def next_step(kind: str, api_key_id: str, language: str = "en", *, project_id: str = "", model: str = "") -> str:
    """Returns what its owner does first about an anomaly: of a key, or of a project or a model without one."""
    if api_key_id:
        return _next_key_step(kind, api_key_id, language)
    return _next_wide_step(kind, f"--project {project_id}" if project_id else f"--model {model}", language)


def _next_key_step(kind: str, api_key_id: str, language: str) -> str:
    if kind == "errors":
        return _look_why(f"--key {api_key_id}", language)
    if kind == "repeated_prompt":
        look, slow = (
            f"tollgate requests --key {api_key_id}",
            f"tollgate limits set {api_key_id} --requests-per-minute 5",
        )
        if language == "zh":
            return f"可能是程序陷入循环。查看请求：{look}；先行限速：{slow}"
        return f"A program may run in a loop. Look at its requests: {look}; to slow it down meanwhile: {slow}"
    stop = f"tollgate keys revoke {api_key_id}"
    if language == "zh":
        return f"向密钥所有者确认；若非本人使用：{stop}，或设置限额：tollgate limits set {api_key_id} --budget 10"
    return (
        f"Ask the key's owner. If it was not them: {stop}; to hold it meanwhile: "
        f"tollgate limits set {api_key_id} --budget 10"
    )


def _look_why(part: str, language: str) -> str:
    look = f"tollgate requests {part}"
    if language == "zh":
        return f"查看失败原因：{look}；通道状态：tollgate channels list"
    return f"Look why: {look}; and at channels: tollgate channels list"


def _next_wide_step(kind: str, part: str, language: str) -> str:
    if kind == "errors":
        return _look_why(part, language)
    look = f"tollgate usage {part} --group-by key"
    if language == "zh":
        return f"没有单个密钥明显异常。查看是谁在使用：{look}；可设预算：tollgate budgets create"
    return f"No key alone stands out. Look who it is: {look}; to bound it: tollgate budgets create"


_EXPLAIN: Final[Mapping[str, Callable[[str, Mapping[str, Any], str], str]]] = {
    "spend": _spend,
    "errors": _errors,
    "new_model": _new_model,
    "new_address": _new_address,
    "repeated_prompt": _repeated_prompt,
}
_KINDS_ZH: Final = {
    "spend": "花费异常",
    "errors": "失败率异常",
    "new_model": "使用新模型",
    "new_address": "来自新网络",
    "repeated_prompt": "重复同一请求",
}
_KINDS_EN: Final = {
    "spend": "unusual spending",
    "errors": "unusually many errors",
    "new_model": "a new model",
    "new_address": "a new address",
    "repeated_prompt": "one request again and again",
}


def _anomaly_title(fact: Mapping[str, Any], language: str) -> str:
    (scope, name), kind = _about(fact), fact["kind"]
    if language == "zh":
        return f"{_SCOPES_ZH[scope]} {name} {_KINDS_ZH[kind]}"
    return f"{scope.capitalize()} {name}: {_KINDS_EN[kind]}"


def _about(fact: Mapping[str, Any]) -> tuple[str, str]:
    """Returns what an anomaly is of, and its id or name."""
    if fact["api_key_id"]:
        return "key", fact["api_key_id"]
    return ("project", fact["project_id"]) if fact["project_id"] else ("model", fact["subject"])


def _anomaly_body(fact: Mapping[str, Any], language: str, zone: ZoneInfo) -> list[str]:
    said = explain(fact["kind"], fact["subject"], fact["numbers"], language)
    hour, key = _moment(fact["hour_us"], zone), fact["api_key_id"]
    step = next_step(fact["kind"], key, language, project_id=fact["project_id"], model=fact["subject"])
    if not key:
        (scope, name), organization = _about(fact), fact["organization_id"]
        if language == "zh":
            return [f"{hour} 起的一小时：{said}", f"{_SCOPES_ZH[scope]} {name}，组织 {organization}。", step]
        owner = f"{scope.capitalize()} {name}, organization {organization}."
        return [f"In the hour from {hour} the {scope} {said}.", owner, step]
    if language == "zh":
        member = f"（{fact['member']}）" if fact.get("member") else ""
        owner = f"密钥 {key}{member}，项目 {fact['project_id']}，组织 {fact['organization_id']}。"
        return [f"{hour} 起的一小时：{said}", owner, step]
    # Notices from before this release name no member.
    member = f" of {fact['member']}," if fact.get("member") else " of"
    owner = f"Key {key}{member} project {fact['project_id']}, organization {fact['organization_id']}."
    return [f"In the hour from {hour} the key {said}.", owner, step]


def _test_title(_fact: Mapping[str, Any], language: str) -> str:
    return "Tollgate 测试通知" if language == "zh" else "A test of Tollgate's notifications"


def _test_body(fact: Mapping[str, Any], language: str, _zone: ZoneInfo) -> list[str]:
    if language == "zh":
        return [f"通知目标“{fact['destination']}”可以正常接收。"]
    return [f"The destination {fact['destination']} works."]


def _moment(at_us: int, zone: ZoneInfo) -> str:
    moment = datetime.fromtimestamp(at_us // 1_000_000, UTC).astimezone(zone)
    return f"{moment:%Y-%m-%d %H:%M} {zone.key}"


_TITLES: Final[Mapping[str, Callable[[Mapping[str, Any], str], str]]] = {
    "budget": _budget_title,
    "anomaly": _anomaly_title,
    "books": alert_title,
    "test": _test_title,
}
_BODIES: Final[Mapping[str, Callable[[Mapping[str, Any], str, ZoneInfo], list[str]]]] = {
    "budget": _budget_body,
    "anomaly": _anomaly_body,
    "books": lambda fact, language, _zone: alert_body(fact, language),
    "test": _test_body,
}
