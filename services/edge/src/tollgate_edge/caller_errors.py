"""The part of the table of errors that callers are to blame for; `error_table.py` has the rest and its purpose."""

from typing import Final

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate_edge.error_entry import INVALID, Entry, Retry, Text

CALLER_ERRORS: Final = (
    Entry(
        errors.ERROR_KIND_INVALID_REQUEST, "invalid_request", 400, INVALID, INVALID, "INVALID_ARGUMENT",
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
        errors.ERROR_KIND_UNAUTHENTICATED, "invalid_api_key", 401, INVALID, "authentication_error", "UNAUTHENTICATED",
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
        errors.ERROR_KIND_UNAUTHENTICATED, "invalid_signature", 401, INVALID, "authentication_error",
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
        errors.ERROR_KIND_NOT_FOUND, "not_found", 404, INVALID, "not_found_error", "NOT_FOUND",
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
        errors.ERROR_KIND_NOT_FOUND, "response_not_stored", 404, INVALID, "not_found_error", "NOT_FOUND",
        Retry.CHANGED, "No response of this id is stored.",
        Text(
            "Responses are not stored here, so that none can be asked for, cancelled or continued later.",
            "这里不保存 Response，因此之后无法查询、取消或续接。",
        ),
        Text(
            "Send the whole conversation with each request instead of `previous_response_id`, or have the operator "
            "set `TOLLGATE_ROUTER_RESPONSES_RETENTION_DAYS`.",
            "请在每次请求中发送完整对话，而不要使用 `previous_response_id`；或请运维设置 "
            "`TOLLGATE_ROUTER_RESPONSES_RETENTION_DAYS`。",
        ),
    ),
    Entry(
        errors.ERROR_KIND_MODEL_NOT_FOUND, "model_not_found", 404, INVALID, "not_found_error", "NOT_FOUND",
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
        errors.ERROR_KIND_MODEL_NOT_FOUND, "model_not_priced", 404, INVALID, "not_found_error", "NOT_FOUND",
        Retry.CHANGED, "The model has no price, so it is not served.",
        Text(
            "No price book has a price for the model, or for searches and tools of the provider that the request may "
            "use; that is not served.",
            "没有任何价目表给出该模型的价格，或给出该请求可能使用的搜索和提供商工具的价格；没有价格的不提供服务。",
        ),
        Text(
            "Where the message names `search` or a `tool_call:…`, leave that tool out of the request, or "
            "ask a model of `GET /v1/models` that has the price. The operator adds what the message names to the "
            'model in the price book, such as `search: "0.01"` (`"0"` where it costs nothing), and applies the '
            "file; `tollgate prices check` names all models that lack it.",
            "如果消息指出的是 `search` 或某个 `tool_call:…`，请从请求中去掉该工具，或改用 `GET /v1/models` "
            '中已有该价格的模型。运维在价目表中为该模型加上消息指出的价格，例如 `search: "0.01"`'
            '（不收费则为 `"0"`），再应用该文件；`tollgate prices check` 会列出所有缺少该价格的模型。',
        ),
    ),
    Entry(
        errors.ERROR_KIND_INVALID_REQUEST, "request_too_dear", 400, INVALID, INVALID, "INVALID_ARGUMENT",
        Retry.CHANGED, "The request may cost more than one request may.",
        Text(
            "The longest answer that the request allows, times the answers that it asks for, would cost more than "
            "some 9,223 of the currency, which is the limit of one request.",
            "按请求所允许的最长回答与回答数量计算，费用可能超过单个请求的上限（约 9,223 个货币单位）。",
        ),
        Text(
            "Name a smaller `max_tokens` or `n`, send less at once, or ask a cheaper model. If every request of a "
            "model says this, the operator looks at its price.",
            "减小 `max_tokens` 或 `n`，减少一次发送的内容，或改用更便宜的模型。"
            "如果某个模型的所有请求都如此，请运维检查其价格。",
        ),
    ),
    Entry(
        errors.ERROR_KIND_CONTEXT_LENGTH, "context_length_exceeded", 400, INVALID, INVALID, "INVALID_ARGUMENT",
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
        errors.ERROR_KIND_CONTENT_POLICY, "content_policy_violation", 400, INVALID, INVALID, "INVALID_ARGUMENT",
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
        errors.ERROR_KIND_PAYLOAD_TOO_LARGE, "payload_too_large", 413, INVALID, "request_too_large",
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
        errors.ERROR_KIND_INVALID_REQUEST, "method_not_allowed", 405, INVALID, INVALID, "INVALID_ARGUMENT",
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
        errors.ERROR_KIND_INVALID_REQUEST, "unsupported_media_type", 415, INVALID, INVALID, "INVALID_ARGUMENT",
        Retry.CHANGED, "The Content-Type is not one that this path takes.",
        Text("The body is of a type that this path does not take.", "该路径不接受此类型的请求体。"),
        Text("Send `Content-Type: application/json`.", "请发送 `Content-Type: application/json`。"),
    ),
    Entry(
        errors.ERROR_KIND_INVALID_REQUEST, "request_timeout", 408, INVALID, INVALID, "INVALID_ARGUMENT",
        Retry.LATER, "The request did not arrive in time.",
        Text("The head or the body of the request came too slowly.", "请求头或请求体到达得太慢。"),
        Text(
            "Send it again; with large bodies, over a faster line.",
            "重新发送；请求体较大时请使用更快的网络。",
        ),
    ),
    Entry(
        errors.ERROR_KIND_INVALID_REQUEST, "headers_too_large", 431, INVALID, INVALID, "INVALID_ARGUMENT",
        Retry.CHANGED, "The request headers are too large.",
        Text("All header fields together are larger than allowed.", "所有请求头加起来超过了上限。"),
        Text("Send fewer or shorter headers; cookies are not needed.", "减少或缩短请求头；不需要 cookie。"),
    ),
    Entry(
        errors.ERROR_KIND_CONFLICT, "conflict", 409, INVALID, INVALID, "ABORTED",
        Retry.NEVER, "The request conflicts with an earlier one.",
        Text(
            "A name is taken, or an idempotency key was used for something else.",
            "名称已被占用，或幂等键已用于另一个请求。",
        ),
        Text("Choose another name or key.", "请更换名称或幂等键。"),
    ),
)  # fmt: skip
