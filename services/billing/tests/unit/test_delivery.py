"""Quiet hours, digests and pauses on given times; what each receiver is sent, byte by byte."""

import base64
import dataclasses
import hashlib
import hmac
import json
from datetime import datetime
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

import pytest

from tollgate_billing.domain import signatures
from tollgate_billing.domain.control_checks import check_destination, parse_quiet
from tollgate_billing.domain.delivery import Destination, Quiet, due_at, loud_at, retry_at
from tollgate_billing.domain.notices import paragraph, title
from tollgate_billing.errors import InvalidControl

NOW_US = 1_700_000_000_000_000
SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
WEBHOOK = Destination("dst_1", "", "w", "webhook", "https://example.com/x", SECRET)


def at(text, zone):
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()) * 1_000_000


@pytest.mark.parametrize(
    ("zone", "now", "loud"),
    [
        ("Asia/Shanghai", "2026-11-29T21:59:59", "2026-11-29T21:59:59"),
        ("Asia/Shanghai", "2026-11-29T22:00:00", "2026-11-30T07:30:00"),
        ("Asia/Shanghai", "2026-11-30T03:00:00", "2026-11-30T07:30:00"),
        ("Asia/Shanghai", "2026-11-30T07:30:00", "2026-11-30T07:30:00"),
        # The night in which an hour is missing.
        ("Europe/Berlin", "2026-03-29T01:30:00", "2026-03-29T07:30:00"),
    ],
)
def test_nothing_is_sent_in_quiet_hours(zone, now, loud):
    one = dataclasses.replace(WEBHOOK, time_zone=zone, quiet=Quiet(22 * 60, 7 * 60 + 30))
    assert loud_at(one, at(now, zone)) == at(loud, zone)


def test_quiet_hours_of_one_day_and_those_that_end_twice():
    siesta = dataclasses.replace(WEBHOOK, time_zone="Europe/Berlin", quiet=Quiet(13 * 60, 15 * 60))
    now = at("2026-11-29T14:00:00", "Europe/Berlin")
    assert loud_at(siesta, now) == at("2026-11-29T15:00:00", "Europe/Berlin")
    assert loud_at(WEBHOOK, now) == now
    # On 25 October 2026 in Berlin half past two comes twice; at 02:10 of the second hour the first end is past.
    twice = dataclasses.replace(siesta, quiet=Quiet(0, 2 * 60 + 30))
    second = int(datetime(2026, 10, 25, 2, 10, fold=1, tzinfo=ZoneInfo("Europe/Berlin")).timestamp()) * 1_000_000
    assert loud_at(twice, second) - second == 20 * 60 * 1_000_000


def test_a_digest_ends_at_a_multiple_of_its_length():
    hourly = dataclasses.replace(WEBHOOK, digest_minutes=60)
    assert due_at(WEBHOOK, NOW_US) == NOW_US
    due = due_at(hourly, NOW_US)
    assert 0 < due - NOW_US <= 3_600 * 10**6
    assert due % (3_600 * 10**6) == 0
    assert due_at(hourly, due - 1) == due < due_at(hourly, due)


def test_pauses_grow_and_end_and_heed_what_was_asked_for():
    pauses = [(retry_at(attempts, 0) // 10**6) for attempts in range(1, 12)]
    assert pauses[:4] == [5, 30, 120, 600]
    assert pauses == [*sorted(pauses[:10]), 0]
    assert sum(pauses) > 24 * 3600
    assert retry_at(1, 0, 90) == 90 * 10**6
    assert retry_at(1, 0, 10**9) == 43_200 * 10**6


def test_a_webhook_is_signed_by_standard_webhooks():
    posted = signatures.webhook("https://example.com/x", SECRET, "ntc_1", {"a": "ä"}, NOW_US)
    signed = b"ntc_1.1700000000." + posted.body
    expected = base64.b64encode(hmac.new(bytes(range(32)), signed, hashlib.sha256).digest()).decode()
    assert posted.headers == {
        "webhook-id": "ntc_1",
        "webhook-timestamp": "1700000000",
        "webhook-signature": f"v1,{expected}",
    }
    assert json.loads(posted.body) == {"a": "ä"}


def test_the_example_of_the_standard_comes_out_as_it_says():
    # From the specification's own test of its libraries.
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    key = signatures.standard_secret(secret)
    signed = b'msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.{"test": 2432232314}'
    digest = hmac.new(key, signed, hashlib.sha256).digest()
    assert base64.b64encode(digest) == b"g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_robots_are_sent_their_own_shape_and_signature():
    posted = json.loads(signatures.feishu("https://f/x", "s", "hi", NOW_US).body)
    sign = base64.b64encode(hmac.new(b"1700000000\ns", b"", hashlib.sha256).digest()).decode()
    assert posted == {"msg_type": "text", "content": {"text": "hi"}, "timestamp": "1700000000", "sign": sign}
    assert json.loads(signatures.feishu("https://f/x", "", "hi", NOW_US).body).keys() == {"msg_type", "content"}

    dingtalk = signatures.dingtalk("https://d/robot/send?access_token=t", "s", "hi", NOW_US)
    query = parse_qs(urlsplit(dingtalk.url).query)
    sign = base64.b64encode(hmac.new(b"s", b"1700000000000\ns", hashlib.sha256).digest()).decode()
    assert query == {"access_token": ["t"], "timestamp": ["1700000000000"], "sign": [sign]}
    assert json.loads(dingtalk.body) == {"msgtype": "text", "text": {"content": "hi"}}

    content = json.loads(signatures.wecom("https://w", "预算" * 1_000).body)["text"]["content"]
    assert len(content.encode()) <= 2_048
    assert content.startswith("预算预算")
    assert content.endswith(" …")
    assert json.loads(signatures.slack("https://s", "<a & b>").body) == {"text": "&lt;a &amp; b&gt;"}


@pytest.mark.parametrize(
    ("kind", "status", "body", "problem"),
    [
        ("webhook", 204, b"", ""),
        ("webhook", 301, b"", "answered 301"),
        ("webhook", 500, b"", "answered 500"),
        ("feishu", 200, b'{"code":0}', ""),
        ("feishu", 200, b'{"StatusCode":0}', ""),
        ("feishu", 200, b'{"code":19021,"msg":"sign match fail"}', "refused with code 19021: sign match fail"),
        ("dingtalk", 200, b'{"errcode":310000,"errmsg":"sign not match"}', "refused with code 310000: sign not match"),
        ("wecom", 200, b'{"errcode":45009,"errmsg":"api freq out of limit"}', "refused with code 45009"),
        ("wecom", 200, b"[1]", "refused with code ?"),
        ("wecom", 200, b"<html>", "answered with no JSON"),
        ("slack", 200, b"ok", ""),
        ("slack", 200, b"no_service", "answered 200: no_service"),
        ("slack", 404, b"no_service", "answered 404: no_service"),
    ],
)
def test_an_answer_is_judged_as_its_receiver_means_it(kind, status, body, problem):
    said = signatures.VERDICTS[kind](status, body)
    assert said.startswith(problem) if problem else said == ""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"kind": "pigeon"}, "kind is one of"),
        ({"target": "ftp://example.com"}, "URL"),
        ({"target": "https://"}, "URL"),
        ({"target": "https://exa mple.com/"}, "URL"),
        ({"target": "https://user:pass@example.com/"}, "no user"),
        ({"target": "https://example.com/#x"}, "fragment"),
        ({"secret": ""}, "whsec_"),
        ({"secret": "whsec_c2hvcnQ="}, "24"),
        ({"secret": "whsec_!!!"}, "whsec_"),
        ({"language": "de"}, "language is one of"),
        ({"time_zone": ""}, "IANA"),
        ({"about": ("weather",)}, "about is one of"),
        ({"about": ("budget", "books"), "organization_id": "org_1"}, "of no organization"),
        ({"digest_minutes": 10**6}, "digest_minutes"),
        ({"kind": "wecom"}, "signs nothing"),
        ({"kind": "mail", "target": "nobody", "secret": ""}, "addresses"),
        ({"kind": "mail", "target": "a@b.c\r\nBcc: d@e.f", "secret": ""}, "addresses"),
        ({"kind": "mail", "target": "a@b.c"}, "mail has no secret"),
    ],
)
def test_what_cannot_be_a_destination_is_refused(change, said):
    with pytest.raises(InvalidControl, match=said):
        check_destination(dataclasses.replace(WEBHOOK, **change))


def test_quiet_hours_are_read_or_refused():
    assert parse_quiet("", "") == Quiet()
    assert parse_quiet("22:00", "07:30") == Quiet(1320, 450)
    for begin, end in (("22:00", ""), ("24:00", "07:00"), ("7:00", "08:00"), ("08:00", "08:00")):
        with pytest.raises(InvalidControl, match="quiet hours"):
            parse_quiet(begin, end)


def budget_fact(**change):
    return {
        "about": "budget",
        "budget_id": "bud_1",
        "budget": "team a",
        "organization_id": "org_1",
        "scope": "project",
        "scope_id": "proj_1",
        "period": "month",
        "days": 0,
        "window": "2026-11-01",
        "percent": 100,
        "action": "block",
        "model": "",
        "spent_pico": 25 * 10**12,
        "amount_pico": 25 * 10**12,
        "currency": "CNY",
        "opens_us": at("2026-12-01T00:00:00", "Asia/Shanghai"),
        "runs_out_us": 0,
        "wallet_runs_out_us": at("2026-12-24T18:00:00", "Asia/Shanghai"),
        **change,
    }


def test_a_budget_is_told_in_the_language_and_time_of_its_destination():
    fact = budget_fact()
    assert title([fact], "en") == "Budget team a has reached 100 %: requests are refused"
    assert title([fact], "zh") == "预算“team a”已达 100%，请求已被拒绝"
    assert title([fact, fact], "zh") == "Tollgate：2 条通知"
    english = paragraph(fact, "en", "Asia/Shanghai")
    assert "Project proj_1 has spent 25 CNY of 25 CNY in the month 2026-11." in english
    assert "New requests are refused until 2026-12-01 00:00 Asia/Shanghai." in english
    assert "money lasts until 2026-12-24 18:00 Asia/Shanghai" in english
    chinese = paragraph(fact, "zh", "Asia/Shanghai")
    assert "项目 proj_1 在 2026-11 月内已花费 25 CNY，预算为 25 CNY。" in chinese
    assert "新请求被拒绝，到 2026-12-01 00:00 Asia/Shanghai 恢复。" in chinese
    soft = budget_fact(action="", percent=80, runs_out_us=at("2026-11-30T09:00:00", "UTC"))
    assert "used up on 2026-11-30 09:00 UTC" in paragraph(soft, "en", "UTC")
    assert "预算将在 2026-11-30 09:00 UTC 用完" in paragraph(soft, "zh", "UTC")
    turned = budget_fact(action="downgrade", model="small", opens_us=0)
    assert "New requests turn to small until somebody changes the budget." in paragraph(turned, "en", "UTC")


@pytest.mark.parametrize("period", ["day", "week", "month", "total", "rolling"])
@pytest.mark.parametrize("scope", ["organization", "project", "key", "model", "tag"])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_kind_of_budget_has_words(period, scope, language):
    text = paragraph(budget_fact(period=period, scope=scope, days=7), language, "UTC")
    assert "bud_1" in text


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize(
    ("kind", "subject", "numbers"),
    [
        ("spend", "", {"spent_pico": 9, "usual_pico": 1, "most_pico": 2, "hours": 30, "currency": "USD"}),
        ("spend", "", {"spent_pico": 9, "usual_pico": 1, "most_pico": 2, "hours": 30, "weeks": 1, "currency": "USD"}),
        ("errors", "", {"requests": 40, "errors": 20, "usual_percent": 1, "hours": 30}),
        ("new_model", "gpt-9", {"models": ["m"]}),
    ],
)
def test_an_anomaly_says_whose_it_is_why_and_what_to_do(kind, subject, numbers, language):
    fact = {"about": "anomaly", "kind": kind, "subject": subject, "numbers": numbers, "hour_us": NOW_US}
    fact |= {"organization_id": "org_1", "project_id": "proj_1", "api_key_id": "key_1"}
    text = paragraph(fact, language, "UTC")
    assert "key_1" in title([fact], language)
    for part in ("proj_1", "org_1", "tollgate "):
        assert part in text


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("kind", ["spend", "errors"])
@pytest.mark.parametrize(
    ("project", "model", "name", "look"), [("proj_1", "", "proj_1", "--project proj_1"), ("", "m", "m", "--model m")]
)
def test_an_anomaly_of_no_key_says_whose_it_is_too(kind, project, model, name, look, language):
    numbers = {"spent_pico": 9, "usual_pico": 1, "most_pico": 2, "hours": 30, "currency": "USD"}
    numbers |= {"requests": 40, "errors": 20, "usual_percent": 1}
    fact = {"about": "anomaly", "kind": kind, "subject": model, "numbers": numbers, "hour_us": NOW_US}
    fact |= {"organization_id": "org_1", "project_id": project, "api_key_id": ""}
    scope = ("Project", "项目") if project else ("Model", "模型")
    begin = f"{scope[1]} {name} " if language == "zh" else f"{scope[0]} {name}: "
    assert title([fact], language).startswith(begin)
    text = paragraph(fact, language, "UTC")
    for part in (name, "org_1", "tollgate ", look):
        assert part in text
    assert "the key " not in text
