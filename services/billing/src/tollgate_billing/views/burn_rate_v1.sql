-- How fast does each project spend now, and how long does a monthly budget last at that pace?
-- reads: usage_1m, usage_1d
-- parameter organization =: id of an organization; empty is all of them, for operators
-- parameter since = 1h: the first moment
-- parameter until = now: the moment after the last
-- parameter budget = 0: what each project may spend in a month, in its currency; 0 is no budget
-- column organization_id: who pays
-- column project_id: the project of the key
-- column currency: of the amounts
-- column charge [currency]: spent in the range
-- column charge_per_hour [currency/h]: `charge` by the length of the range
-- column charge_of_month [currency]: spent since the month of `until` began, by whole days, its day included
-- column hours_left [h]: until `budget` is spent; empty without a budget or where nothing is spent
WITH
    greatest(1, dateDiff('second', {since:DateTime('UTC')}, {until:DateTime('UTC')})) AS seconds
SELECT
    organization_id,
    project_id,
    currency,
    sum(r.recent) AS charge,
    sum(r.recent) * 3600 / seconds AS charge_per_hour,
    sum(r.month) AS charge_of_month,
    if(
        {budget:Decimal(38, 12)} = 0 OR charge_per_hour <= 0, NULL,
        greatest(0, toFloat64({budget:Decimal(38, 12)} - charge_of_month) / toFloat64(charge_per_hour))
    ) AS hours_left
FROM
(
    SELECT organization_id, project_id, currency, r.charge AS recent, toDecimal128(0, 12) AS month
    FROM usage_1m AS r
    WHERE ({organization:String} = '' OR r.organization_id = {organization:String})
        AND r.minute >= {since:DateTime('UTC')} AND r.minute < {until:DateTime('UTC')}
    UNION ALL
    SELECT organization_id, project_id, currency, toDecimal128(0, 12) AS recent, r.charge AS month
    FROM usage_1d AS r
    WHERE ({organization:String} = '' OR r.organization_id = {organization:String})
        AND r.day >= toStartOfMonth({until:DateTime('UTC')})
        AND r.day <= toDate({until:DateTime('UTC')})
) AS r
GROUP BY organization_id, project_id, currency
ORDER BY charge DESC, organization_id, project_id, currency
