-- What does a thousand output tokens cost, by model and day?
-- reads: usage_1d
-- parameter organization =: id of an organization; empty is all of them, for operators
-- parameter since = 30d: the first moment
-- parameter until = now: the moment after the last
-- column day [UTC]: the day
-- column model: the model that answered
-- column currency: of the amounts
-- column output_tokens [tokens]: out
-- column charge [currency]: paid for these requests, input included
-- column charge_per_1k [currency]: `charge` by a thousand `output_tokens`, cut off after twelve places
-- column cost_per_1k (operators) [currency]: the same of what it cost us
SELECT
    r.day AS day,
    r.model AS model,
    r.currency AS currency,
    sum(r.output_tokens) AS output_tokens,
    sum(r.charge) AS charge,
    sum(r.charge) * 1000 / sum(r.output_tokens) AS charge_per_1k,
    sum(r.cost) * 1000 / sum(r.output_tokens) AS cost_per_1k
FROM usage_1d AS r
WHERE ({organization:String} = '' OR r.organization_id = {organization:String})
    AND toDateTime(r.day, 'UTC') >= {since:DateTime('UTC')} AND toDateTime(r.day, 'UTC') < {until:DateTime('UTC')}
GROUP BY day, model, currency
HAVING output_tokens > 0
ORDER BY day, model, currency
