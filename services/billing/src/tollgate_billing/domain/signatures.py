"""How each receiver wants a message shaped and signed, and what its answer means. Bytes in, bytes out.

- webhook: Standard Webhooks, https://www.standardwebhooks.com
- Feishu: custom bot, https://open.feishu.cn/document/client-docs/bot-v3/add-custom-bot
- DingTalk: custom robot, https://open.dingtalk.com/document/robots/customize-robot-security-settings
- WeCom: group robot, https://developer.work.weixin.qq.com/document/path/91770
- Slack: incoming webhook, https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks
"""

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlencode

from tollgate_billing.errors import InvalidControl

_PREFIX: Final = "whsec_"
# What the standard wants of a secret, in bytes.
_SHORTEST, _LONGEST = 24, 64
# Bytes that WeCom takes of a text; the others take more.
_WECOM_BYTES: Final = 2_048
_MOST_BYTES: Final = 16_000
_CUT: Final = " …"


@dataclass(frozen=True, slots=True)
class Posted:
    """A POST with a JSON body."""

    url: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


def standard_secret(secret: str) -> bytes:
    """Returns the bytes of a secret such as whsec_BASE64. Raises InvalidControl."""
    try:
        found = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        found = b""
    if not secret.startswith(_PREFIX) or not _SHORTEST <= len(found) <= _LONGEST:
        raise InvalidControl(
            f"a webhook's secret is whsec_ and {_SHORTEST} to {_LONGEST} random bytes in base64; "
            "make one with: echo whsec_$(openssl rand -base64 32)"
        )
    return found


def webhook(url: str, secret: str, message_id: str, payload: Mapping[str, Any], now_us: int) -> Posted:
    """Returns a message signed by Standard Webhooks: the id is that of the message, however often it is sent."""
    body = _json(payload)
    timestamp = str(now_us // 1_000_000)
    signed = b".".join((message_id.encode(), timestamp.encode(), body))
    signature = _base64(hmac.new(standard_secret(secret), signed, hashlib.sha256).digest())
    return Posted(
        url,
        body,
        {"webhook-id": message_id, "webhook-timestamp": timestamp, "webhook-signature": f"v1,{signature}"},
    )


def feishu(url: str, secret: str, text: str, now_us: int) -> Posted:
    """Returns a text for a custom bot: the key of its signature is what is signed, and the content is empty."""
    message: dict[str, Any] = {"msg_type": "text", "content": {"text": _cut(text, _MOST_BYTES)}}
    if secret:
        timestamp = str(now_us // 1_000_000)
        key = f"{timestamp}\n{secret}".encode()
        message |= {"timestamp": timestamp, "sign": _base64(hmac.new(key, b"", hashlib.sha256).digest())}
    return Posted(url, _json(message))


def dingtalk(url: str, secret: str, text: str, now_us: int) -> Posted:
    """Returns a text for a custom robot: time in milliseconds and signature are part of the URL."""
    message = {"msgtype": "text", "text": {"content": _cut(text, _MOST_BYTES)}}
    if secret:
        timestamp = str(now_us // 1_000)
        signed = f"{timestamp}\n{secret}".encode()
        sign = _base64(hmac.new(secret.encode(), signed, hashlib.sha256).digest())
        url += ("&" if "?" in url else "?") + urlencode({"timestamp": timestamp, "sign": sign})
    return Posted(url, _json(message))


def wecom(url: str, text: str) -> Posted:
    """Returns a text for a group robot, cut to what it takes; the key in the URL is the only secret."""
    return Posted(url, _json({"msgtype": "text", "text": {"content": _cut(text, _WECOM_BYTES)}}))


def slack(url: str, text: str) -> Posted:
    """Returns a text for an incoming webhook; the three characters that its markup has are escaped."""
    for plain, escaped in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(plain, escaped)
    return Posted(url, _json({"text": _cut(text, _MOST_BYTES)}))


def _code(names: tuple[str, ...]) -> Callable[[int, bytes], str]:
    """Returns a judge of answers that are 200 whatever happened, and say in a number what did."""

    def judge(status: int, body: bytes) -> str:
        if status != 200:
            return f"answered {status}"
        try:
            said = json.loads(body)
        except (ValueError, RecursionError):
            return "answered with no JSON"
        codes = [said[name] for name in names if name in said] if isinstance(said, dict) else []
        # `false` is 0 to Python, and no code to anybody.
        if codes and codes[0] == 0 and isinstance(codes[0], int) and not isinstance(codes[0], bool):
            return ""
        words = said.get("msg") or said.get("errmsg") if isinstance(said, dict) else ""
        return f"refused with code {str(codes[0])[:20] if codes else '?'}: {str(words)[:200]}"

    return judge


def _any_success(status: int, _body: bytes) -> str:
    return "" if 200 <= status < 300 else f"answered {status}"


def _slack_answer(status: int, body: bytes) -> str:
    return (
        "" if status == 200 and body.strip() == b"ok" else f"answered {status}: {body[:100].decode(errors='replace')}"
    )


# By kind: what is wrong by the answer's status and body, empty for nothing.
VERDICTS: Final[Mapping[str, Callable[[int, bytes], str]]] = {
    "webhook": _any_success,
    "feishu": _code(("code", "StatusCode")),
    "dingtalk": _code(("errcode",)),
    "wecom": _code(("errcode",)),
    "slack": _slack_answer,
}


def _cut(text: str, most: int) -> str:
    """Returns as much of a text as fits, whole characters of UTF-8."""
    plain = text.encode()
    if len(plain) <= most:
        return text
    return plain[: most - len(_CUT.encode())].decode(errors="ignore") + _CUT


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()
