"""Carries letters to mail servers, webhooks and chat robots."""

import smtplib
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Any, Final

from tollgate_billing.adapters.guarded_http import GuardedHttp, NotSent
from tollgate_billing.control_ports import Letter, Outcome
from tollgate_billing.domain import signatures
from tollgate_billing.domain.control_checks import addresses_of
from tollgate_billing.domain.delivery import Destination
from tollgate_billing.domain.signatures import VERDICTS, Posted
from tollgate_kit.clock import Clock

# Whoever answers so never takes anything again.
_GONE: Final = frozenset({410})
_TIMEOUT_SECONDS: Final = 15.0


@dataclass(frozen=True, slots=True)
class MailServer:
    """`security` is starttls, tls or none. Without a user nobody logs in."""

    host: str
    port: int
    sender: str
    security: str = "starttls"
    user: str = ""
    password: str = ""


class NoticeSender:
    """`mail` is None where no mail server is set up. `new_tls` makes what mail servers are trusted by."""

    def __init__(
        self,
        http: GuardedHttp,
        mail: MailServer | None,
        clock: Clock,
        new_tls: Callable[[], ssl.SSLContext] = ssl.create_default_context,
    ) -> None:
        self._http = http
        self._mail = mail
        self._clock = clock
        self._new_tls = new_tls

    async def send(self, destination: Destination, letter: Letter) -> Outcome:
        if destination.kind == "mail":
            return await self._send_mail(destination, letter)
        posted = post_of(destination, letter, self._clock.now_us())
        try:
            answer = await self._http.post(posted.url, posted.body, posted.headers)
        except NotSent as error:
            return Outcome(str(error))
        problem = VERDICTS[destination.kind](answer.status, answer.body)
        return Outcome(problem, bool(problem) and answer.status in _GONE, answer.retry_after_seconds)

    async def _send_mail(self, destination: Destination, letter: Letter) -> Outcome:
        server = self._mail
        if server is None:
            return Outcome("no mail server is set up: TOLLGATE_BILLING_SMTP_HOST")
        message = mail_of(server, destination, letter)
        try:
            await self._http.run(lambda: _hand_over(server, message, self._new_tls))
        except smtplib.SMTPResponseException as error:
            said = (
                error.smtp_error.decode(errors="replace") if isinstance(error.smtp_error, bytes) else error.smtp_error
            )
            return Outcome(f"the mail server answered {error.smtp_code}: {said}"[:300])
        except (smtplib.SMTPException, OSError) as error:
            return Outcome(f"mail: {type(error).__name__} {error}"[:300])
        return Outcome()


def post_of(destination: Destination, letter: Letter, now_us: int) -> Posted:
    """Returns a letter in the shape of its receiver."""
    url, secret = destination.target, destination.secret
    if destination.kind == "webhook":
        return signatures.webhook(url, secret, letter.id, payload_of(letter), now_us)
    text = "\n\n".join((letter.title, *letter.paragraphs))
    if destination.kind == "feishu":
        return signatures.feishu(url, secret, text, now_us)
    if destination.kind == "dingtalk":
        return signatures.dingtalk(url, secret, text, now_us)
    return signatures.wecom(url, text) if destination.kind == "wecom" else signatures.slack(url, text)


def payload_of(letter: Letter) -> Mapping[str, Any]:
    """Returns a letter for programs: Standard Webhooks' type, timestamp and data, with the words beside the facts."""
    kinds = {str(fact["about"]) for fact in letter.facts}
    return {
        "type": f"tollgate.{kinds.pop()}" if len(kinds) == 1 else "tollgate.digest",
        "timestamp": datetime.fromtimestamp(letter.created_us // 1_000_000, UTC).isoformat(),
        "data": {"title": letter.title, "text": list(letter.paragraphs), "items": [dict(one) for one in letter.facts]},
    }


def mail_of(server: MailServer, destination: Destination, letter: Letter) -> EmailMessage:
    """Returns a letter as mail. Its Message-ID is that of the letter, so that a copy can be told."""
    message = EmailMessage()
    message["From"] = server.sender
    message["To"] = ", ".join(addresses_of(destination.target))
    message["Subject"] = " ".join(letter.title.split())
    message["Date"] = format_datetime(datetime.fromtimestamp(letter.created_us // 1_000_000, UTC))
    message["Message-ID"] = f"<{letter.id}@{server.sender.partition('@')[2] or 'tollgate'}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content("\n\n".join(letter.paragraphs) + "\n")
    return message


def _hand_over(server: MailServer, message: EmailMessage, new_tls: Callable[[], ssl.SSLContext]) -> None:
    connection: smtplib.SMTP
    if server.security == "tls":
        connection = smtplib.SMTP_SSL(server.host, server.port, timeout=_TIMEOUT_SECONDS, context=new_tls())
    else:
        connection = smtplib.SMTP(server.host, server.port, timeout=_TIMEOUT_SECONDS)
    with connection:
        if server.security == "starttls":
            connection.starttls(context=new_tls())
        if server.user:
            connection.login(server.user, server.password)
        refused = connection.send_message(message)
        if refused:
            raise smtplib.SMTPRecipientsRefused(refused)
