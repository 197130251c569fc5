"""The one table of errors: what each means, how each dialect says it, and what its reader should do.

`errors.py` makes replies of it, `api/error_page.py` the page that these replies link to, and `tools/gen_errors.py`
docs/reference/errors.md and errors.zh.md. A code that is sent without an entry here is a failing test.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from tollgate.errors.v1 import errors_pb2 as errors


class Retry(enum.Enum):
    """Whether the same request may be sent again. Each is also said on the page of errors, by its value."""

    NEVER = "never"
    """Not before somebody does something; SDKs are told so by `x-should-retry: false`."""
    CHANGED = "changed"
    """Not as it is; SDKs do not repeat these statuses by themselves."""
    LATER = "later"
    """Yes, after `retry-after` where it is there, else with growing pauses, as SDKs do by themselves."""


@dataclass(frozen=True, slots=True)
class Text:
    """The same words in English and Chinese."""

    en: str
    zh: str


@dataclass(frozen=True, slots=True)
class Entry:
    """An error. `kind` is a tollgate.errors.v1.ErrorKind, of which the first entry is what it is by default.

    `type` is OpenAI's, `anthropic` Anthropic's and `gemini` Google's word for it; `also` are codes of providers that
    are passed on because clients know them, and mean this.
    """

    kind: int
    code: str
    status: int
    type: str
    anthropic: str
    gemini: str
    retry: Retry
    message: str
    means: Text
    do: Text
    also: tuple[str, ...] = ()
    hide: bool = False
    """What was said inside is never shown."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Headers of every reply with this error, names in lower case."""
        return _NO_RETRY if self.retry is Retry.NEVER else _NO_HEADERS


_NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})
_NO_RETRY: Final[Mapping[str, str]] = MappingProxyType({"x-should-retry": "false"})

_INVALID: Final = "invalid_request_error"
_UPSTREAM: Final = "upstream_error"
_SERVER: Final = "server_error"
_LIMIT: Final = "rate_limit_error"

TABLE: Final = (
    Entry(
        errors.ERROR_KIND_INVALID_REQUEST, "invalid_request", 400, _INVALID, _INVALID, "INVALID_ARGUMENT",
        Retry.CHANGED, "The request is not valid.",
        Text(
            "A field of the request is missing, has the wrong type or value, or cannot be carried to the model that "
            "was asked. `param` names the field. Status 422 is the same for a parameter of the address.",
            "请求中的某个字段缺失、类型或取值不对，或者无法传给所请求的模型。`param` 给出字段名。"
            "地址参数有误时状态码为 422，含义相同。",
        ),
        Text(
            "Read the message, mend the field, and send the request again.",
            "按提示信息改正该字段后重新发送。",
        ),
    ),
    Entry(
        errors.ERROR_KIND_UNAUTHENTICATED, "invalid_api_key", 401, _INVALID, "authentication_error", "UNAUTHENTICATED",
        Retry.NEVER, "The API key is not valid. Check it, or create one.",
        Text(
            "No key was sent, or the key is unknown, revoked or expired.",
            "没有发送密钥，或者密钥不存在、已被吊销或已过期。",
        ),
        Text(
            "Check that the key was copied whole and that it is a key of this gateway (`sk-tg-…`), not one of a "
            "provider. `tollgate keys list` shows the last four characters of those that there are.",
            "检查密钥是否复制完整，并确认它是本网关的密钥（`sk-tg-…`），而不是某个供应商的密钥。"
            "`tollgate keys list` 会列出现有密钥的末四位。",
        ),
    ),
    Entry(
        errors.ERROR_KIND_UNAUTHENTICATED, "invalid_signature", 401, _INVALID, "authentication_error",
        "UNAUTHENTICATED", Retry.NEVER, "The message is not signed as it should be.",
        Text(
            "A message of a payment provider carries no signature, a wrong one, or one that is too old.",
            "支付平台的消息没有签名、签名不对，或签名已过期。",
        ),
        Text(
            "The operator compares the secret of the webhook on both sides, and the clocks.",
            "由运维核对双方的 webhook 密钥，并校准时钟。",
        ),
    ),
    Entry(
        errors.ERROR_KIND_FORBIDDEN, "forbidden", 403, "permission_error", "permission_error", "PERMISSION_DENIED",
        Retry.NEVER, "This key may not do that.",
        Text(
            "The key is known, but not for this: a key calls models, an operator's access token manages the gateway, "
            "and neither sees what belongs to another organization.",
            "密钥有效，但不能用于此操作：密钥用来调用模型，运维令牌用来管理网关，二者都看不到其他组织的数据。",
        ),
        Text(
            "Use an API key (`sk-tg-…`) for models and an access token (`pat-tg-…`) for `/api/v1`.",
            "调用模型请用 API 密钥（`sk-tg-…`），访问 `/api/v1` 请用访问令牌（`pat-tg-…`）。",
        ),
    ),
    Entry(
        errors.ERROR_KIND_FORBIDDEN, "address_not_allowed", 403, "permission_error", "permission_error",
        "PERMISSION_DENIED", Retry.NEVER, "This key may not be used from there.",
        Text(
            "The key has a list of addresses, and the caller's is not on it.",
            "该密钥设有地址白名单，而调用方的地址不在其中。",
        ),
        Text(
            "Call from a listed address, or ask whoever made the key for one with another list. Behind a proxy, the "
            "operator sets `TOLLGATE_EDGE_TRUSTED_HOPS`.",
            "请从白名单内的地址调用，或向密钥的创建者申请其他密钥。若网关前有代理，由运维设置 "
            "`TOLLGATE_EDGE_TRUSTED_HOPS`。",
        ),
    ),
    Entry(
        errors.ERROR_KIND_FORBIDDEN, "endpoint_not_allowed", 403, "permission_error", "permission_error",
        "PERMISSION_DENIED", Retry.NEVER, "This key may not be used for that.",
        Text(
            "The key has a list of what it may be used for, such as chat or images, and this is not on it.",
            "该密钥限定了可用的接口（例如对话或图片），而此接口不在其中。",
        ),
        Text("Use a key that is made for it.", "请使用允许该接口的密钥。"),
    ),
    Entry(
        errors.ERROR_KIND_FORBIDDEN, "bad_link", 403, "permission_error", "permission_error", "PERMISSION_DENIED",
        Retry.NEVER, "This link is not valid, or it has expired.",
        Text(
            "The signed link to the evidence of a request was changed or has expired.",
            "指向某次请求凭据的签名链接被改动过，或已过期。",
        ),
        Text("Ask for a new link.", "请索取新的链接。"),
    ),
    Entry(
        errors.ERROR_KIND_FORBIDDEN, "invalid_link", 403, "permission_error", "permission_error", "PERMISSION_DENIED",
        Retry.NEVER, "The link is not valid or has expired.",
        Text(
            "The signed link to a picture or another result was changed or has expired.",
            "指向图片或其他结果的签名链接被改动过，或已过期。",
        ),
        Text("Ask for the job again: its reply has new links.", "重新查询该任务，回复中会有新的链接。"),
    ),
    Entry(
        errors.ERROR_KIND_NOT_FOUND, "not_found", 404, _INVALID, "not_found_error", "NOT_FOUND",
        Retry.CHANGED, "There is nothing here.",
        Text(
            "No route has this path, or there is no object of this id for this key.",
            "没有这个路径，或者此密钥名下没有该编号的对象。",
        ),
        Text(
            "Compare the base URL: some clients add `/v1` themselves, so that it must not be given to them. "
            "`tollgate doctor client` finds out.",
            "检查基础 URL：有些客户端会自动追加 `/v1`，此时不应再填写它。可用 `tollgate doctor client` 检测。",
        ),
    ),
    Entry(
        errors.ERROR_KIND_NOT_FOUND, "response_not_stored", 404, _INVALID, "not_found_error", "NOT_FOUND",
        Retry.CHANGED, "No response of this id is stored.",
        Text(
            "Responses are not stored here, so that none can be asked for, cancelled or continued later.",
            "这里不保存 Response，因此之后无法查询、取消或续接。",
        ),
        Text(
            "Send the whole conversation with each request instead of `previous_response_id`.",
            "请在每次请求中发送完整对话，而不要使用 `previous_response_id`。",
        ),
    ),
    Entry(
        errors.ERROR_KIND_MODEL_NOT_FOUND, "model_not_found", 404, _INVALID, "not_found_error", "NOT_FOUND",
        Retry.CHANGED, "The model does not exist or this key may not use it.",
        Text(
            "The model does not exist, this key may not use it, or no channel of its route group offers it.",
            "模型不存在，此密钥无权使用，或其路由组中没有渠道提供该模型。",
        ),
        Text(
            "Choose a model of `GET /v1/models` under the same key.",
            "请从同一密钥的 `GET /v1/models` 列表中选择模型。",
        ),
    ),
    Entry(
        errors.ERROR_KIND_MODEL_NOT_FOUND, "model_not_priced", 404, _INVALID, "not_found_error", "NOT_FOUND",
        Retry.CHANGED, "The model has no price, so it is not served.",
        Text(
            "No price book has a price for the model, and what has no price is not served.",
            "没有任何价目表给出该模型的价格；没有价格的模型不提供服务。",
        ),
        Text(
            "The operator sets a price; 0 is one.",
            "由运维在价目表中设置价格；0 也是价格。",
        ),
    ),
    Entry(
        errors.ERROR_KIND_CONTEXT_LENGTH, "context_length_exceeded", 400, _INVALID, _INVALID, "INVALID_ARGUMENT",
        Retry.CHANGED, "The request is longer than the model's context.",
        Text(
            "Messages, tools and the asked output together are longer than the model takes.",
            "消息、工具与所要求的输出加在一起超出了模型的上下文长度。",
        ),
        Text(
            "Shorten the conversation, ask for fewer output tokens, or use a model with a longer context.",
            "缩短对话、减少输出 token 数，或改用上下文更长的模型。",
        ),
        also=("string_above_max_length",),
    ),
    Entry(
        errors.ERROR_KIND_CONTENT_POLICY, "content_policy_violation", 400, _INVALID, _INVALID, "INVALID_ARGUMENT",
        Retry.CHANGED, "The provider refused the content.",
        Text(
            "The provider's rules for content refused the request.",
            "供应商的内容规则拒绝了该请求。",
        ),
        Text(
            "Change what is asked. Sending the same again gives the same answer.",
            "修改内容后再试；原样重发结果相同。",
        ),
        also=("content_filter", "moderation_blocked"),
    ),
    Entry(
        errors.ERROR_KIND_PAYLOAD_TOO_LARGE, "payload_too_large", 413, _INVALID, "request_too_large",
        "INVALID_ARGUMENT", Retry.NEVER, "The request body is too large.",
        Text(
            "The body is larger than the gateway or the provider takes.",
            "请求体超过了网关或供应商的上限。",
        ),
        Text(
            "Send smaller files or pictures, or give their addresses instead. The operator's limit is "
            "`TOLLGATE_EDGE_MAX_BODY_BYTES`.",
            "减小文件或图片，或改为传递其地址。网关上限由 `TOLLGATE_EDGE_MAX_BODY_BYTES` 设置。",
        ),
    ),
    Entry(
        errors.ERROR_KIND_INVALID_REQUEST, "method_not_allowed", 405, _INVALID, _INVALID, "INVALID_ARGUMENT",
        Retry.CHANGED, "This path does not take this method.",
        Text(
            "The path exists, but not for this method; `allow` names those that it takes.",
            "路径存在，但不接受该方法；响应头 `allow` 列出可用的方法。",
        ),
        Text(
            "Inference is POST. A GET to it usually comes from a browser, or from a redirect that turned a POST into "
            "one: use https where the gateway has it.",
            "推理接口使用 POST。GET 多半来自浏览器，或来自把 POST 变成 GET 的重定向：网关若有 https，请直接使用。",
        ),
    ),
    Entry(
        errors.ERROR_KIND_INVALID_REQUEST, "unsupported_media_type", 415, _INVALID, _INVALID, "INVALID_ARGUMENT",
        Retry.CHANGED, "The Content-Type is not one that this path takes.",
        Text("The body is of a type that this path does not take.", "该路径不接受此类型的请求体。"),
        Text("Send `Content-Type: application/json`.", "请发送 `Content-Type: application/json`。"),
    ),
    Entry(
        errors.ERROR_KIND_INVALID_REQUEST, "request_timeout", 408, _INVALID, _INVALID, "INVALID_ARGUMENT",
        Retry.LATER, "The request did not arrive in time.",
        Text("The head or the body of the request came too slowly.", "请求头或请求体到达得太慢。"),
        Text(
            "Send it again; with large bodies, over a faster line.",
            "重新发送；请求体较大时请使用更快的网络。",
        ),
    ),
    Entry(
        errors.ERROR_KIND_INVALID_REQUEST, "headers_too_large", 431, _INVALID, _INVALID, "INVALID_ARGUMENT",
        Retry.CHANGED, "The request headers are too large.",
        Text("All header fields together are larger than allowed.", "所有请求头加起来超过了上限。"),
        Text("Send fewer or shorter headers; cookies are not needed.", "减少或缩短请求头；不需要 cookie。"),
    ),
    Entry(
        errors.ERROR_KIND_CONFLICT, "conflict", 409, _INVALID, _INVALID, "ABORTED",
        Retry.NEVER, "The request conflicts with an earlier one.",
        Text(
            "A name is taken, or an idempotency key was used for something else.",
            "名称已被占用，或幂等键已用于另一个请求。",
        ),
        Text("Choose another name or key.", "请更换名称或幂等键。"),
    ),
    Entry(
        errors.ERROR_KIND_RATE_LIMITED, "rate_limit_exceeded", 429, _LIMIT, "rate_limit_error", "RESOURCE_EXHAUSTED",
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
        errors.ERROR_KIND_UPSTREAM_UNAVAILABLE, "upstream_unavailable", 502, _UPSTREAM, "api_error", "INTERNAL",
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
        errors.ERROR_KIND_UPSTREAM_TIMEOUT, "upstream_timeout", 504, _UPSTREAM, "timeout_error", "DEADLINE_EXCEEDED",
        Retry.LATER, "The provider did not answer in time.",
        Text("The provider did not answer in time.", "供应商没有在规定时间内答复。"),
        Text(
            "Send it again; stream long answers, so that their beginning arrives early.",
            "重新发送；回答较长时请使用流式输出，以便尽早收到开头。",
        ),
    ),
    Entry(
        errors.ERROR_KIND_UPSTREAM_PROTOCOL, "upstream_protocol_error", 502, _UPSTREAM, "api_error", "INTERNAL",
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
        errors.ERROR_KIND_UPSTREAM_PROTOCOL, "asset_invalid", 502, _UPSTREAM, "api_error", "INTERNAL",
        Retry.LATER, "The provider's result is not what was asked for.",
        Text(
            "What the provider delivered is no picture, or not of a kind that is kept. Nothing is charged.",
            "供应商交付的内容不是图片，或不是可保存的类型。不计费。",
        ),
        Text("Send it again.", "重新发送。"),
    ),
    Entry(
        errors.ERROR_KIND_UPSTREAM_REJECTED_CREDENTIALS, "upstream_credentials_rejected", 502, _UPSTREAM, "api_error",
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
        errors.ERROR_KIND_UPSTREAM_CUT, "upstream_cut", 502, _UPSTREAM, "api_error", "INTERNAL",
        Retry.LATER, "The provider's answer broke off.",
        Text(
            "The answer broke off before its end. What was delivered is charged.",
            "回答在结束之前中断。已送达的部分照常计费。",
        ),
        Text("Send it again.", "重新发送。"),
    ),
    Entry(
        errors.ERROR_KIND_UPSTREAM_CUT, "provider_outcome_unknown", 502, _UPSTREAM, "api_error", "INTERNAL",
        Retry.LATER, "Nobody can tell whether the provider did the work.",
        Text(
            "The connection broke while the provider may have been at work; the gateway does not send such a job "
            "twice by itself. Nothing is charged.",
            "供应商可能已开始处理时连接中断；网关不会自行重复提交这样的任务。不计费。",
        ),
        Text("Send it again, if a second result does no harm.", "若重复的结果无妨，请重新发送。"),
    ),
    Entry(
        errors.ERROR_KIND_UPSTREAM_RATE_LIMITED, "upstream_rate_limited", 429, _LIMIT, "rate_limit_error",
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
        errors.ERROR_KIND_UNAVAILABLE, "service_unavailable", 503, _SERVER, "overloaded_error", "UNAVAILABLE",
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
        errors.ERROR_KIND_UNAVAILABLE, "no_exchange_rate", 503, _SERVER, "overloaded_error", "UNAVAILABLE",
        Retry.NEVER, "No exchange rate is in force for this price.",
        Text(
            "The organization pays in another currency than the price is in, and no rate between them is in force.",
            "组织的结算货币与价格的货币不同，而二者之间没有生效的汇率。",
        ),
        Text("The operator declares a rate.", "由运维声明汇率。"),
    ),
    Entry(
        errors.ERROR_KIND_UNAVAILABLE, "hold_gone", 503, _SERVER, "overloaded_error", "UNAVAILABLE",
        Retry.LATER, "The money for this job is no longer held.",
        Text(
            "The job waited so long that the money that was held for it was given back. Nothing is charged.",
            "任务等待过久，为其预留的金额已退回。不计费。",
        ),
        Text("Send it again.", "重新发送。"),
    ),
    Entry(
        errors.ERROR_KIND_INTERNAL, "internal_error", 500, _SERVER, "api_error", "INTERNAL",
        Retry.LATER, "Something went wrong inside.",
        Text("The gateway failed in a way that nobody foresaw.", "网关内部发生了未预料到的错误。"),
        Text(
            "Send it again; when it stays so, tell the operator the request id.",
            "重新发送；若一直如此，请把请求编号告诉运维。",
        ),
        hide=True,
    ),
    Entry(
        errors.ERROR_KIND_DEADLINE, "timeout", 504, _SERVER, "timeout_error", "DEADLINE_EXCEEDED",
        Retry.LATER, "The request took longer than allowed.",
        Text("The request took longer than the gateway allows.", "请求耗时超过了网关的上限。"),
        Text(
            "Send it again, or ask for less at once.",
            "重新发送，或减少单次请求的内容。",
        ),
    ),
    Entry(
        errors.ERROR_KIND_CANCELLED, "client_closed_request", 499, _INVALID, _INVALID, "CANCELLED",
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
