-- Which API keys spent most in the last seven days?
-- reads: usage_1h
-- parameter organization =: id of an organization; empty is all of them, for operators
-- parameter since = 7d: the first moment
-- parameter until = now: the moment after the last
-- parameter top = 20: how many keys
-- column organization_id: who paid
-- column project_id: the project of the key
-- column api_key_id: id of the key, never the key itself
-- column currency: of `charge`
-- column requests [requests]: requests that were charged or would have been
-- column charge [currency]: what was spent with the key
SELECT
    r.organization_id AS organization_id,
    r.project_id AS project_id,
    r.api_key_id AS api_key_id,
    r.currency AS currency,
    sum(r.requests) AS requests,
    sum(r.charge) AS charge
FROM usage_1h AS r
WHERE ({organization:String} = '' OR r.organization_id = {organization:String})
    AND r.hour >= {since:DateTime('UTC')} AND r.hour < {until:DateTime('UTC')}
GROUP BY organization_id, project_id, api_key_id, currency
ORDER BY charge DESC, api_key_id, project_id, organization_id, currency
LIMIT {top:UInt32}
