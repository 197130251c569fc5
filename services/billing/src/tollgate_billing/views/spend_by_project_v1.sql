-- What did each project spend this month so far?
-- reads: usage_1d
-- parameter organization =: id of an organization; empty is all of them, for operators
-- parameter since = month: the first moment
-- parameter until = now: the moment after the last
-- column organization_id: who paid
-- column project_id: the project of the key
-- column currency: of `charge`
-- column requests [requests]: requests that were charged or would have been
-- column unpriced [requests]: of these, what had no price and was charged nothing
-- column charge [currency]: what the project spent
SELECT
    r.organization_id AS organization_id,
    r.project_id AS project_id,
    r.currency AS currency,
    sum(r.requests) AS requests,
    sum(r.unpriced) AS unpriced,
    sum(r.charge) AS charge
FROM usage_1d AS r
WHERE ({organization:String} = '' OR r.organization_id = {organization:String})
    AND toDateTime(r.day, 'UTC') >= {since:DateTime('UTC')} AND toDateTime(r.day, 'UTC') < {until:DateTime('UTC')}
GROUP BY organization_id, project_id, currency
ORDER BY charge DESC, organization_id, project_id, currency
