"""What operators are told of the books and of the way to them: what is wrong, when that is news, and in which words.

| kind         | told while                                                                               |
|--------------|------------------------------------------------------------------------------------------|
| mismatches   | router and billing computed different charges, in the last day                           |
| unpriced     | requests used what has no price, in the last day                                         |
| holds        | a hold was there longer than its request                                                 |
| differences  | the hourly comparison of the books found what does not agree                             |
| dead_letters | a record of the last seven days could not be booked, and is not by now                   |
| spool        | a spool is nearly full, or its events cannot leave                                       |
| forgotten    | the event log had records of usage no longer when they were to be booked                 |
| lag          | the oldest event that is not booked is older than the setting, or the log is not read    |
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tollgate_billing.domain.budgets import DAY_US, HOUR_US

MISMATCHES, UNPRICED, HOLDS, DIFFERENCES = "mismatches", "unpriced", "holds", "differences"
DEAD_LETTERS, SPOOL, LAG, FORGOTTEN = "dead_letters", "spool", "lag", "forgotten"
# Below docs/runbooks.
RUNBOOKS: Final[Mapping[str, str]] = {
    MISMATCHES: "billing.md",
    UNPRICED: "billing.md",
    HOLDS: "books.md",
    DIFFERENCES: "books.md",
    DEAD_LETTERS: "billing.md#dead-letters",
    SPOOL: "spool.md",
    LAG: "billing.md",
    FORGOTTEN: "billing.md#events-that-the-log-forgot",
}
FULL_PERCENT: Final = 80
# Where they lie in a checkout, for whoever has published them nowhere.
_CHECKOUT: Final = "docs/runbooks"


@dataclass(frozen=True, slots=True)
class Alert:
    """Something that is wrong now. `numbers` are plain JSON.

    `subject` tells several of a kind apart, such as spools. `mark` is another one when there is more of the same.
    """

    kind: str
    numbers: Mapping[str, Any]
    subject: str = ""
    mark: str = ""


@dataclass(frozen=True, slots=True)
class Kept:
    """What is remembered of an alert: when it was told, 0 for never, under which mark, and whether it is still so."""

    told_us: int = 0
    mark: str = ""
    present: bool = False


def is_news(alert: Alert, kept: Kept, now_us: int) -> bool:
    """Says whether to tell of an alert: at once, once an hour where it is new again, once a day while it stays."""
    since_us = now_us - kept.told_us
    if not kept.told_us or since_us >= DAY_US:
        return True
    return since_us >= HOUR_US and (not kept.present or alert.mark != kept.mark)


def runbook(kind: str, base: str) -> str:
    """Returns where the page about a kind is; `base` is where the pages are published, empty for nowhere."""
    return f"{base.rstrip('/') or _CHECKOUT}/{RUNBOOKS[kind]}"


def alert_title(fact: Mapping[str, Any], language: str) -> str:
    """Returns the first line about an alert."""
    return _WORDS[str(fact["kind"])](fact["numbers"], language)[0]


def alert_body(fact: Mapping[str, Any], language: str) -> list[str]:
    """Returns what is wrong, where to look, and the runbook."""
    _, said, look = _WORDS[str(fact["kind"])](fact["numbers"], language)
    if language == "zh":
        return [said, f"查看：{look}", f"处理手册：{fact['runbook']}"]
    return [said, f"See: {look}", f"Runbook: {fact['runbook']}"]


# A title, what is wrong, and a command that shows more.
_Said = tuple[str, str, str]


def _mismatches(numbers: Mapping[str, Any], language: str) -> _Said:
    count, names, requests = numbers["count"], _listed(numbers["names"]), numbers["request_ids"]
    look = f"tollgate evidence {requests[0]}"
    if language == "zh":
        said = f"过去 24 小时内，{count} 个事件的费用在 router 与 billing 之间不一致（{names}）。"
        return f"计费不一致：{count} 个事件", f"{said}请求：{_listed(requests)}。", look
    said = f"Router and billing computed different charges for {_count(count, 'event')} in the last 24 hours"
    return f"{_count(count, 'charge')} computed otherwise by billing", f"{said} ({names}): {_listed(requests)}.", look


def _unpriced(numbers: Mapping[str, Any], language: str) -> _Said:
    count, models, requests = numbers["count"], _listed(numbers["names"]), _listed(numbers["request_ids"])
    look = "tollgate prices check"
    if language == "zh":
        said = f"过去 24 小时内，{count} 次调用用到没有价格的计量单位，未收费。模型：{models}。请求：{requests}。"
        return f"{count} 次调用没有价格", said, look
    said = f"{_count(count, 'call')} in the last 24 hours used what has no price and {_was(count)} charged nothing"
    return f"{_count(count, 'call')} without a price", f"{said}. Models: {models}. Requests: {requests}.", look


def _holds(numbers: Mapping[str, Any], language: str) -> _Said:
    released, unbooked, staying = numbers["released"], numbers["unbooked"], numbers["staying"]
    # What an older release has kept does not say it.
    estimated = numbers.get("estimated", 0)
    requests, look = _listed(numbers["request_ids"]), "tollgate reconcile"
    if language == "zh":
        said = (
            f"到期退还 {released} 笔，已结算但未入账 {unbooked} 笔，因用量事件未到而按结算额估算入账 {estimated} 笔，"
        )
        said += f"请求已入账或已到期仍占用 {staying} 笔。"
        return "预扣在请求结束后仍存在", said + (f"请求：{requests}。" if requests else ""), look
    said = f"{released} expired and {_was(released)} given back, {unbooked} {_was(unbooked)} settled and never booked, "
    said += f"{estimated} {_was(estimated)} booked as estimated since the usage event never came, "
    said += f"{staying} {_was(staying)} still there after the request was booked or the time was over."
    return "Holds have outlived their requests", said + (f" Requests: {requests}." if requests else ""), look


def _differences(numbers: Mapping[str, Any], language: str) -> _Said:
    count, look = numbers["count"], "tollgate reconcile"
    kinds = ", ".join(f"{kind} {found}" for kind, found in sorted(numbers["kinds"].items()))
    where = _listed(numbers["request_ids"]) or _listed(numbers["organization_ids"])
    if language == "zh":
        said = f"用量、账本、钱包与预扣的核对发现差异：{kinds}。" + (f"涉及：{where}。" if where else "")
        return f"账目不一致：{count} 处", said, look
    said = f"Usage rows, ledger, wallets and holds were compared and differ: {kinds}."
    return f"The books do not agree in {_count(count, 'place')}", said + (f" About: {where}." if where else ""), look


def _dead_letters(numbers: Mapping[str, Any], language: str) -> _Said:
    more, count, reasons = numbers["more"], numbers["count"], _listed(numbers["reasons"])
    look = f"tollgate dlq show {numbers['ids'][0]}"
    if language == "zh":
        count = f"至少 {count}" if more else count
        return f"死信未处理：{count} 条", f"{count} 条记录无法入账，至今未入账：{reasons}。", look
    said = _count(count, "record")
    title = f"{'At least ' if more else ''}{said} could not be booked"
    return title, f"{title} and {'is' if count == 1 else 'are'} not by now: {reasons}.", look


def _spool(numbers: Mapping[str, Any], language: str) -> _Said:
    process, percent, records = numbers["process"], numbers["percent"], numbers["records"]
    problem, look = numbers["problem"], "tollgate doctor"
    if language == "zh":
        said = f"{process} 的缓冲中有 {records} 个用量事件等待，已用 {percent}%；写满后新请求将被拒绝。"
        return f"用量缓冲：{process} 已用 {percent}%", said + (f"原因：{problem}。" if problem else ""), look
    said = f"{_count(records, 'usage event')} of {process} {'waits' if records == 1 else 'wait'} on its disk; "
    said += f"its spool is {percent} % full, and new requests are refused when it is full."
    title = f"The spool of {process} is {percent} % full" if percent >= FULL_PERCENT else f"Events of {process} wait"
    return title, said + (f" {problem}." if problem else ""), look


def _lag(numbers: Mapping[str, Any], language: str) -> _Said:
    seconds, records, problem = numbers["seconds"], numbers["records"], numbers["problem"]
    look = "tollgate doctor"
    if language == "zh":
        said = f"有 {records} 个用量事件尚未入账，最早的已等待 {seconds} 秒。" + (
            f"原因：{problem}。" if problem else ""
        )
        return f"用量入账延迟 {seconds} 秒", said, look
    said = f"{_count(records, 'usage event')} {'is' if records == 1 else 'are'} not booked; the oldest waits for "
    return f"Usage is booked {seconds} s late", f"{said}{seconds} s." + (f" {problem}." if problem else ""), look


def _forgotten(numbers: Mapping[str, Any], language: str) -> _Said:
    count, places, look = numbers["count"], _listed(numbers["places"]), "tollgate reconcile"
    if language == "zh":
        said = f"事件日志的保留期已过，{count} 个用量事件在入账之前就被删除：{places}。"
        return f"{count} 个用量事件丢失", said, look
    said = f"The event log had {_count(count, 'record')} of usage no longer when they were to be booked: its retention "
    title = f"{_count(count, 'usage event')} {_was(count)} never booked and {'is' if count == 1 else 'are'} gone"
    return title, f"{said}has passed them ({places}).", look


def _count(count: int, name: str) -> str:
    return f"{count} {name}{'' if count == 1 else 's'}"


def _was(count: int) -> str:
    return "was" if count == 1 else "were"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)


_WORDS: Final[Mapping[str, Callable[[Mapping[str, Any], str], _Said]]] = {
    MISMATCHES: _mismatches,
    UNPRICED: _unpriced,
    HOLDS: _holds,
    DIFFERENCES: _differences,
    DEAD_LETTERS: _dead_letters,
    SPOOL: _spool,
    LAG: _lag,
    FORGOTTEN: _forgotten,
}
