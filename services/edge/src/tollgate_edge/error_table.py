"""The one table of errors: what each means, how each dialect says it, and what its reader should do.

`errors.py` makes replies of it, `api/error_page.py` the page that these replies link to, and `tools/gen_errors.py`
docs/reference/errors.md and errors.zh.md. A code that is sent without an entry is a failing test. What the caller is
to blame for stands in `caller_errors.py`; here are limits and money, the provider's side, and ours.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate_edge.caller_errors import CALLER_ERRORS
from tollgate_edge.error_entry import INVALID, LIMIT, SERVER, UPSTREAM, Entry, Retry, Text

TABLE: Final = (
    *CALLER_ERRORS,
    Entry(
        errors.ERROR_KIND_RATE_LIMITED, "rate_limit_exceeded", 429, LIMIT, "rate_limit_error", "RESOURCE_EXHAUSTED",
        Retry.LATER, "Too many requests. Wait and send it again.",
        Text(
            "A limit of the key, its project or its organization is reached: requests or tokens per minute, or "
            "requests that are open at once. The message names it.",
            "密钥、项目或组织的某项限制已达到：每分钟请求数、每分钟 token 数或并发请求数。消息中会说明是哪一项。",
        ),
        Text(
            "Wait as long as `retry-after` says. A request that alone is larger than the limit says "
            "`x-should-retry: false`: make it smaller.",
            "按 `retry-after` 等待后重试。若单个请求就超过限制，会带 `x-should-retry: false`：请缩小请求。",
        ),
    ),
    Entry(
        errors.ERROR_KIND_INSUFFICIENT_QUOTA, "insufficient_quota", 429, "insufficient_quota", "billing_error",
        "RESOURCE_EXHAUSTED", Retry.NEVER,
        "The balance is too low for this request. Top it up; sending it again does not help.",
        Text(
            "The wallet does not cover the most that this request can cost, or a budget is used up; the message "
            "names the budget and when it opens again.",
            "余额不足以覆盖该请求可能的最高费用，或预算已用尽；消息中会说明是哪个预算以及何时恢复。",
        ),
        Text(
            "Top up, lower `max_tokens`, or have the budget raised. Sending it again does not help.",
            "充值、降低 `max_tokens`，或请人提高预算。重复发送没有用。",
        ),
    ),
    Entry(
        errors.ERROR_KIND_UPSTREAM_UNAVAILABLE, "upstream_unavailable", 502, UPSTREAM, "api_error", "INTERNAL",
        Retry.LATER, "The provider could not be reached or failed. Send it again.",
        Text(
            "Every channel that serves the model failed or is held back after failures.",
            "提供该模型的所有渠道都失败了，或因此前的失败而暂停使用。",
        ),
        Text(
            "Send it again in a moment. The operator sees why with `tollgate channels list`.",
            "稍后重试。运维可用 `tollgate channels list` 查看原因。",
        ),
    ),
    Entry(
        errors.ERROR_KIND_UPSTREAM_UNAVAILABLE, "server_is_overloaded", 503, SERVER, "overloaded_error", "UNAVAILABLE",
        Retry.LATER, "The provider is overloaded. Wait and send it again.",
        Text(
            "The provider has too much to do just now, and no other channel could answer either.",
            "供应商当前负载过高，其他渠道也无法答复。",
        ),
        Text(
            "Wait as long as `retry-after` says, if the provider named a time, else for some seconds. The operator "
            "adds a channel of another provider, or a fallback model.",
            "若供应商给出时间，按 `retry-after` 等待，否则等待几秒。运维可增加其他供应商的渠道或后备模型。",
        ),
        anthropic_status=529,
    ),
    Entry(
        errors.ERROR_KIND_UPSTREAM_TIMEOUT, "upstream_timeout", 504, UPSTREAM, "timeout_error", "DEADLINE_EXCEEDED",
        Retry.LATER, "The provider did not answer in time.",
        Text("The provider did not answer in time.", "供应商没有在规定时间内答复。"),
        Text(
            "Send it again; stream long answers, so that their beginning arrives early.",
            "重新发送；回答较长时请使用流式输出，以便尽早收到开头。",
        ),
    ),
    Entry(
        errors.ERROR_KIND_UPSTREAM_PROTOCOL, "upstream_protocol_error", 502, UPSTREAM, "api_error", "INTERNAL",
        Retry.LATER, "The provider's answer could not be read.",
        Text(
            "The provider's answer was not of the form that its interface promises.",
            "供应商的答复不符合其接口约定的格式。",
        ),
        Text(
            "Send it again. When it stays so, the operator compares the channel's provider and base URL.",
            "重新发送。若一直如此，请运维检查渠道的供应商类型与基础 URL。",
        ),
    ),
    Entry(
        errors.ERROR_KIND_UPSTREAM_PROTOCOL, "asset_invalid", 502, UPSTREAM, "api_error", "INTERNAL",
        Retry.LATER, "The provider's result is not what was asked for.",
        Text(
            "What the provider delivered is no picture, or not of a kind that is kept. Nothing is charged.",
            "供应商交付的内容不是图片，或不是可保存的类型。不计费。",
        ),
        Text("Send it again.", "重新发送。"),
    ),
    Entry(
        errors.ERROR_KIND_UPSTREAM_REJECTED_CREDENTIALS, "upstream_credentials_rejected", 502, UPSTREAM, "api_error",
        "INTERNAL", Retry.NEVER, "The provider refused the gateway's credentials.",
        Text(
            "The provider refused the gateway's own account: its key is wrong or its credit is used up. "
            "Your key is not concerned.",
            "供应商拒绝了网关自己的账户：其密钥有误或额度用尽。与您的密钥无关。",
        ),
        Text(
            "The operator mends the channel's credential.",
            "由运维修复该渠道的凭据。",
        ),
    ),
    Entry(
        errors.ERROR_KIND_UPSTREAM_CUT, "upstream_cut", 502, UPSTREAM, "api_error", "INTERNAL",
        Retry.LATER, "The provider's answer broke off.",
        Text(
            "The answer broke off before its end. What was delivered is charged.",
            "回答在结束之前中断。已送达的部分照常计费。",
        ),
        Text("Send it again.", "重新发送。"),
    ),
    Entry(
        errors.ERROR_KIND_UPSTREAM_CUT, "provider_outcome_unknown", 502, UPSTREAM, "api_error", "INTERNAL",
        Retry.LATER, "Nobody can tell whether the provider did the work.",
        Text(
            "The connection broke, or a part of the gateway was lost, while the provider may have been at work on an "
            "image, a sound or a stored response; the gateway does not send such a request twice by itself. A media "
            "job that ends so is not charged.",
            "供应商可能已开始处理图片、音频或需要保存的 Response 时，连接中断或网关的某一部分失联；"
            "网关不会自行重复提交这样的请求。以此结束的媒体任务不计费。",
        ),
        Text("Send it again, if a second result does no harm.", "若重复的结果无妨，请重新发送。"),
    ),
    Entry(
        errors.ERROR_KIND_UPSTREAM_RATE_LIMITED, "upstream_rate_limited", 429, LIMIT, "rate_limit_error",
        "RESOURCE_EXHAUSTED", Retry.LATER, "The provider takes no more requests now. Wait and send it again.",
        Text(
            "The provider's limit for the gateway's account is reached on every channel.",
            "网关账户在所有渠道上都达到了供应商的限制。",
        ),
        Text(
            "Wait as long as `retry-after` says, if the provider named a time. The operator adds a channel.",
            "若供应商给出时间，按 `retry-after` 等待。运维可增加渠道。",
        ),
    ),
    Entry(
        errors.ERROR_KIND_UNAVAILABLE, "service_unavailable", 503, SERVER, "overloaded_error", "UNAVAILABLE",
        Retry.LATER, "The gateway cannot serve this now. Try again in a moment.",
        Text(
            "A part of the gateway is away, starting or stopping; the message says which.",
            "网关的某一部分暂时不可用、正在启动或停止；消息中会说明。",
        ),
        Text(
            "Send it again in a moment. The operator looks at `/readyz`.",
            "稍后重试。运维可查看 `/readyz`。",
        ),
    ),
    Entry(
        errors.ERROR_KIND_UNAVAILABLE, "no_exchange_rate", 503, SERVER, "overloaded_error", "UNAVAILABLE",
        Retry.NEVER, "No exchange rate is in force for this price.",
        Text(
            "The organization pays in another currency than the price is in, and no rate between them is in force.",
            "组织的结算货币与价格的货币不同，而二者之间没有生效的汇率。",
        ),
        Text("The operator declares a rate.", "由运维声明汇率。"),
    ),
    Entry(
        errors.ERROR_KIND_UNAVAILABLE, "hold_gone", 503, SERVER, "overloaded_error", "UNAVAILABLE",
        Retry.LATER, "The money for this job is no longer held.",
        Text(
            "The job waited so long that the money that was held for it was given back. Nothing is charged.",
            "任务等待过久，为其预留的金额已退回。不计费。",
        ),
        Text("Send it again.", "重新发送。"),
    ),
    Entry(
        errors.ERROR_KIND_INTERNAL, "internal_error", 500, SERVER, "api_error", "INTERNAL",
        Retry.LATER, "Something went wrong inside.",
        Text("The gateway failed in a way that nobody foresaw.", "网关内部发生了未预料到的错误。"),
        Text(
            "Send it again; when it stays so, tell the operator the request id.",
            "重新发送；若一直如此，请把请求编号告诉运维。",
        ),
        hide=True,
    ),
    Entry(
        errors.ERROR_KIND_DEADLINE, "timeout", 504, SERVER, "timeout_error", "DEADLINE_EXCEEDED",
        Retry.LATER, "The request took longer than allowed.",
        Text("The request took longer than the gateway allows.", "请求耗时超过了网关的上限。"),
        Text(
            "Send it again, or ask for less at once.",
            "重新发送，或减少单次请求的内容。",
        ),
    ),
    Entry(
        errors.ERROR_KIND_CANCELLED, "client_closed_request", 499, INVALID, INVALID, "CANCELLED",
        Retry.CHANGED, "The caller went away.",
        Text(
            "The caller closed the connection before the answer was whole. It stands in the request log only. "
            "What was delivered is charged.",
            "调用方在回答完成之前断开了连接。只出现在请求日志中。已送达的部分照常计费。",
        ),
        Text(
            "When clients did not mean to, their time limit, or that of a proxy between, is too short.",
            "若并非有意断开，说明客户端或中间代理的超时时间太短。",
        ),
    ),
)  # fmt: skip


BY_KIND: Final[Mapping[int, Entry]] = MappingProxyType({entry.kind: entry for entry in reversed(TABLE)})
BY_CODE: Final[Mapping[str, Entry]] = MappingProxyType(
    {code: entry for entry in TABLE for code in (entry.code, *entry.also)}
)
