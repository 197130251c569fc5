-- What did each provider bring in and cost, and what was left?
-- for operators
-- reads: usage_1d
-- parameter since = month: the first moment
-- parameter until = now: the moment after the last
-- column provider: who was called
-- column currency: of the amounts
-- column requests [requests]: requests that were charged or would have been
-- column charge [currency]: what organizations paid
-- column cost [currency]: what the provider is owed, failed calls too
-- column loss [currency]: the part of `cost` of calls whose charge another call carries
-- column margin [currency]: `charge` less `cost`
-- column margin_share [share]: `margin` of `charge`; empty where nothing was charged
SELECT
    r.provider AS provider,
    r.currency AS currency,
    sum(r.requests) AS requests,
    sum(r.charge) AS charge,
    sum(r.cost) AS cost,
    sum(r.loss) AS loss,
    sum(r.charge) - sum(r.cost) AS margin,
    if(sum(r.charge) = 0, NULL, toFloat64(sum(r.charge) - sum(r.cost)) / toFloat64(sum(r.charge))) AS margin_share
FROM usage_1d AS r
WHERE toDateTime(r.day, 'UTC') >= {since:DateTime('UTC')} AND toDateTime(r.day, 'UTC') < {until:DateTime('UTC')}
GROUP BY provider, currency
ORDER BY charge DESC, provider, currency
