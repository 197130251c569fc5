-- What happened to one request?
-- reads: usage_events
-- parameter organization =: id of an organization; empty is all of them, for operators
-- parameter request_id: from the header `x-request-id` of the answer
-- column request_id: its id
-- column event_id: id of the call's event
-- column kind: `usage`, or `adjustment` where a charge was taken back
-- column try: 2 after edge tried again with another router
-- column attempt: number of the call within its try
-- column source: `router`, `witness` where edge wrote the event because the router was gone, or `billing` where a price came later
-- column status: `confirmed`, `unconfirmed`, `witness`, `settled` or `repeated`
-- column final [0/1]: 1 for the call that answered the request
-- column superseded [0/1]: 1 where another call carries the charge
-- column started_at [UTC]: begin of the call
-- column model: the model that answered
-- column outcome: `ok`, or how it ended otherwise
-- column error_kind: kind of the error
-- column input_tokens [tokens]: without what came from a cache
-- column cache_read_tokens [tokens]: from a cache
-- column output_tokens [tokens]: out
-- column charge [currency]: paid
-- column currency: of the amounts
-- column estimated [0/1]: 1 where the tokens are our estimate
-- column unpriced [0/1]: 1 where there was no price
-- column price_digest: the price book that was used
-- column total_ms [ms]: from request to last byte
-- column provider (operators): who was called
-- column channel (operators): with which account
-- column upstream_model (operators): the provider's name of the model
-- column upstream_status (operators): HTTP status of the provider
-- column cost (operators) [currency]: what the call cost us
-- column loss (operators) [currency]: cost without a charge of its own
SELECT
    r.request_id AS request_id,
    toString(r.event_id) AS event_id,
    toString(r.kind) AS kind,
    r.try AS try,
    r.attempt AS attempt,
    r.source AS source,
    r.status AS status,
    toUInt8(r.final) AS final,
    toUInt8(r.superseded) AS superseded,
    r.started_at AS started_at,
    r.model AS model,
    r.outcome AS outcome,
    r.error_kind AS error_kind,
    r.input_tokens AS input_tokens,
    r.cache_read_tokens AS cache_read_tokens,
    r.output_tokens AS output_tokens,
    r.charge AS charge,
    r.currency AS currency,
    toUInt8(r.estimated) AS estimated,
    toUInt8(r.unpriced) AS unpriced,
    r.price_digest AS price_digest,
    round(r.total_us / 1000, 1) AS total_ms,
    r.provider AS provider,
    r.channel AS channel,
    r.upstream_model AS upstream_model,
    r.upstream_status AS upstream_status,
    r.cost AS cost,
    r.loss AS loss
FROM usage_events AS r
WHERE ({organization:String} = '' OR r.organization_id = {organization:String})
    AND r.request_id = {request_id:String}
ORDER BY r.logged_at, r.src_offset, r.src_index
