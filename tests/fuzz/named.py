"""The readers of bytes from outside, by name."""

from collections.abc import Mapping
from typing import Final

from tests.fuzz.runner import Target
from tests.fuzz.targets.chat_repair import ChatRepairTarget
from tests.fuzz.targets.chat_stream import ChatStreamTarget
from tests.fuzz.targets.converse_stream import ConverseStreamTarget
from tests.fuzz.targets.dialects import (
    DialectChoicesTarget,
    DialectRepliesTarget,
    DialectRequestsTarget,
    DialectStreamsTarget,
)
from tests.fuzz.targets.endpoints import EndpointsTarget
from tests.fuzz.targets.forms import FormsTarget
from tests.fuzz.targets.http_door import HttpDoorTarget
from tests.fuzz.targets.payment_message import PaymentMessageTarget
from tests.fuzz.targets.price_lists import PriceListsTarget
from tests.fuzz.targets.provider_statements import ProviderStatementsTarget
from tests.fuzz.targets.receiver_answers import ReceiverAnswersTarget
from tests.fuzz.targets.redis_replies import RedisRepliesTarget
from tests.fuzz.targets.request_fields import RequestFieldsTarget
from tests.fuzz.targets.responses_stream import ResponsesStreamTarget
from tests.fuzz.targets.spool_files import SpoolFilesTarget
from tests.fuzz.targets.stream_frames import StreamFramesTarget
from tests.fuzz.targets.upstream_reply import UpstreamReplyTarget
from tests.fuzz.targets.usage import UsageTarget

TARGETS: Final[Mapping[str, type[Target]]] = {
    "chat-repair": ChatRepairTarget,
    "chat-stream": ChatStreamTarget,
    "converse-stream": ConverseStreamTarget,
    "dialect-choices": DialectChoicesTarget,
    "dialect-replies": DialectRepliesTarget,
    "dialect-requests": DialectRequestsTarget,
    "dialect-streams": DialectStreamsTarget,
    "endpoints": EndpointsTarget,
    "forms": FormsTarget,
    "http-door": HttpDoorTarget,
    "payment-message": PaymentMessageTarget,
    "price-lists": PriceListsTarget,
    "provider-statements": ProviderStatementsTarget,
    "receiver-answers": ReceiverAnswersTarget,
    "redis-replies": RedisRepliesTarget,
    "request-fields": RequestFieldsTarget,
    "responses-stream": ResponsesStreamTarget,
    "spool-files": SpoolFilesTarget,
    "stream-frames": StreamFramesTarget,
    "upstream-reply": UpstreamReplyTarget,
    "usage": UsageTarget,
}
