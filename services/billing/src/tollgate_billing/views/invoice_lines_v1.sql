-- What are the lines of an invoice, by project, model and price book?
-- reads: usage_events
-- parameter organization =: id of an organization; empty is all of them, for operators
-- parameter since = last-month: the first moment
-- parameter until = month: the moment after the last
-- column organization_id: who pays
-- column project_id: the project of the key
-- column model: the model that answered
-- column price_digest: the price book that was used
-- column currency: of `charge`
-- column requests [requests]: requests that were charged or would have been
-- column input_tokens [tokens]: without what came from a cache
-- column cache_read_tokens [tokens]: from a cache
-- column cache_write_tokens [tokens]: written to a cache
-- column output_tokens [tokens]: out
-- column images [images]: made
-- column charge [currency]: to pay
WITH
    toInt64(multiIf(r.kind = 'adjustment', -1, r.final AND NOT r.superseded, 1, 0)) AS sign
SELECT
    r.organization_id AS organization_id,
    r.project_id AS project_id,
    r.model AS model,
    r.price_digest AS price_digest,
    r.currency AS currency,
    sum(sign) AS requests,
    sum(sign * toInt64(r.input_tokens)) AS input_tokens,
    sum(sign * toInt64(r.cache_read_tokens)) AS cache_read_tokens,
    sum(sign * toInt64(r.cache_write_5m_tokens + r.cache_write_1h_tokens)) AS cache_write_tokens,
    sum(sign * toInt64(r.output_tokens)) AS output_tokens,
    sum(sign * toInt64(r.images)) AS images,
    sum(r.charge) AS charge
FROM usage_events AS r
WHERE ({organization:String} = '' OR r.organization_id = {organization:String})
    AND r.started_at >= {since:DateTime('UTC')} AND r.started_at < {until:DateTime('UTC')}
GROUP BY organization_id, project_id, model, price_digest, currency
HAVING requests != 0 OR charge != 0
ORDER BY organization_id, project_id, model, price_digest, currency
