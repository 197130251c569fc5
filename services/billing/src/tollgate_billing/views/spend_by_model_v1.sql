-- What did an organization spend, by model?
-- reads: usage_1h
-- parameter organization =: id of an organization; empty is all of them, for operators
-- parameter since = today: the first moment
-- parameter until = now: the moment after the last
-- column organization_id: who paid
-- column model: the model that answered
-- column currency: of `charge`
-- column requests [requests]: requests that were charged or would have been
-- column errors [requests]: of these, what did not end well
-- column input_tokens [tokens]: without what came from a cache
-- column output_tokens [tokens]: with reasoning, where the provider counts it there
-- column charge [currency]: what the organization paid
SELECT
    r.organization_id AS organization_id,
    r.model AS model,
    r.currency AS currency,
    sum(r.requests) AS requests,
    sum(r.errors) AS errors,
    sum(r.input_tokens) AS input_tokens,
    sum(r.output_tokens) AS output_tokens,
    sum(r.charge) AS charge
FROM usage_1h AS r
WHERE ({organization:String} = '' OR r.organization_id = {organization:String})
    AND r.hour >= {since:DateTime('UTC')} AND r.hour < {until:DateTime('UTC')}
GROUP BY organization_id, model, currency
ORDER BY charge DESC, organization_id, model, currency
