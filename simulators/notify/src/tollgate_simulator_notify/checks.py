"""What each receiver checks of a message, as its maker's page says; an answer in its own shape.

- Standard Webhooks: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
- Feishu: timestamp in seconds within an hour; `sign` is base64(HMAC-SHA256(key = timestamp LF secret, message = ""));
  19021 is the code of a wrong one, 9499 of a malformed request.
- DingTalk: `timestamp` in milliseconds within an hour and `sign` in the query; base64(HMAC-SHA256(key = secret,
  message = timestamp LF secret)); 310000 is the code of a wrong one, 40035 of a missing field.
- WeCom: only the key in the query; a text has at most 2,048 bytes of UTF-8 (40058), an unknown key is 93000.
- Slack: JSON with `text`; `&`, `<` and `>` only as entities; the answer is the word ok.
"""

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

HOUR_SECONDS = 3600
WEBHOOK_SECONDS = 300
WECOM_BYTES = 2048
_BARE = re.compile(r"&(?!amp;|lt;|gt;)|[<>]")


@dataclass(frozen=True)
class Asked:
    """A POST: header names are in lower case, `query` is what stands behind the question mark."""

    query: str
    headers: Mapping[str, str]
    body: bytes
    now: float


@dataclass(frozen=True)
class Verdict:
    """`problem` is empty for a message that is taken; `text` is what people would read, `id` what tells a copy."""

    status: int
    answer: bytes
    problem: str = ""
    text: str = ""
    id: str = ""


Check = Callable[[Asked, str], Verdict]


def same(expected: bytes, given: str) -> bool:
    """Says whether a signature in base64 is the expected digest."""
    return hmac.compare_digest(base64.b64encode(expected).decode(), given)


def digest(key: bytes, message: bytes) -> bytes:
    """Returns the HMAC-SHA256 of a message."""
    return hmac.new(key, message, hashlib.sha256).digest()


def plain(body: bytes) -> dict[str, Any]:
    """Returns the object of a body; an empty one for anything else."""
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def webhook(asked: Asked, secret: str) -> Verdict:
    """Checks a message by Standard Webhooks."""
    name, stamp = asked.headers.get("webhook-id", ""), asked.headers.get("webhook-timestamp", "")
    if not name or not stamp.isdecimal() or abs(asked.now - int(stamp)) > WEBHOOK_SECONDS:
        return Verdict(400, b"{}", "webhook-id or webhook-timestamp is missing or old")
    signed = f"{name}.{stamp}.".encode() + asked.body
    expected = digest(base64.b64decode(secret.removeprefix("whsec_")), signed)
    given = [part.split(",", 1) for part in asked.headers.get("webhook-signature", "").split(" ")]
    if not any(len(pair) == 2 and pair[0] == "v1" and same(expected, pair[1]) for pair in given):
        return Verdict(401, b"{}", "webhook-signature is wrong")
    content = plain(asked.body)
    if not {"type", "timestamp", "data"} <= content.keys():
        return Verdict(400, b"{}", "the payload has type, timestamp and data")
    return Verdict(204, b"", text=json.dumps(content, ensure_ascii=False), id=name)


def feishu(asked: Asked, secret: str) -> Verdict:
    """Checks a message to a custom bot."""
    content = plain(asked.body)
    text = content.get("content", {}).get("text") if isinstance(content.get("content"), dict) else None
    if content.get("msg_type") != "text" or not isinstance(text, str) or not text:
        return _said(9499, "Bad Request", "code", "msg", "not msg_type text with content.text")
    if secret:
        stamp, sign = content.get("timestamp"), content.get("sign")
        fresh = isinstance(stamp, str) and stamp.isdecimal() and abs(asked.now - int(stamp)) <= HOUR_SECONDS
        if not fresh or not isinstance(sign, str) or not same(digest(f"{stamp}\n{secret}".encode(), b""), sign):
            return _said(19021, "sign match fail or timestamp is not within one hour", "code", "msg", "sign is wrong")
    return Verdict(200, b'{"StatusCode":0,"StatusMessage":"success","code":0,"data":{},"msg":"success"}', text=text)


def dingtalk(asked: Asked, secret: str) -> Verdict:
    """Checks a message to a custom robot."""
    query = {name: values[0] for name, values in parse_qs(asked.query).items()}
    if secret:
        stamp = query.get("timestamp", "")
        fresh = stamp.isdecimal() and abs(asked.now - int(stamp) / 1000) <= HOUR_SECONDS
        if not fresh or not same(digest(secret.encode(), f"{stamp}\n{secret}".encode()), query.get("sign", "")):
            return _said(310000, "sign not match", "errcode", "errmsg", "sign is wrong")
    content = plain(asked.body)
    text = content.get("text", {}).get("content") if isinstance(content.get("text"), dict) else None
    if content.get("msgtype") != "text" or not isinstance(text, str) or not text:
        return _said(40035, "缺少参数 json", "errcode", "errmsg", "not msgtype text with text.content")
    return Verdict(200, b'{"errcode":0,"errmsg":"ok"}', text=text)


def wecom(asked: Asked, _secret: str) -> Verdict:
    """Checks a message to a group robot."""
    content = plain(asked.body)
    text = content.get("text", {}).get("content") if isinstance(content.get("text"), dict) else None
    if content.get("msgtype") != "text" or not isinstance(text, str) or not text:
        return _said(40008, "invalid message type", "errcode", "errmsg", "not msgtype text with text.content")
    if len(text.encode()) > WECOM_BYTES:
        return _said(40058, "text.content exceed max length 2048", "errcode", "errmsg", "longer than 2,048 bytes")
    return Verdict(200, b'{"errcode":0,"errmsg":"ok"}', text=text)


def slack(asked: Asked, _secret: str) -> Verdict:
    """Checks a message to an incoming webhook."""
    if not asked.headers.get("content-type", "").startswith("application/json"):
        return Verdict(400, b"invalid_payload", "content-type is not JSON")
    text = plain(asked.body).get("text")
    if not isinstance(text, str) or not text:
        return Verdict(400, b"no_text", "no text")
    if _BARE.search(text):
        return Verdict(400, b"invalid_payload", "&, < or > that is not an entity")
    return Verdict(200, b"ok", text=text)


def _said(code: int, words: str, code_name: str, words_name: str, problem: str) -> Verdict:
    # They answer 200 whatever happened.
    answer = json.dumps({code_name: code, words_name: words}, ensure_ascii=False).encode()
    return Verdict(200, answer, problem)


CHECKS: Mapping[str, Check] = {
    "webhook": webhook,
    "feishu": feishu,
    "dingtalk": dingtalk,
    "wecom": wecom,
    "slack": slack,
}
