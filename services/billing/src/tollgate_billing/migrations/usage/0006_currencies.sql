-- What amounts were before an exchange rate converted them into the organization's currency, and by which rate. Rows from
-- before there were rates were not converted.
ALTER TABLE usage_events ADD COLUMN IF NOT EXISTS rate_digest LowCardinality(String) DEFAULT '' AFTER price_digest;
ALTER TABLE usage_events ADD COLUMN IF NOT EXISTS list_currency LowCardinality(String) DEFAULT currency AFTER rate_digest;
ALTER TABLE usage_events ADD COLUMN IF NOT EXISTS list_charge Decimal(38, 12) DEFAULT charge AFTER list_currency;
ALTER TABLE usage_events ADD COLUMN IF NOT EXISTS provider_currency LowCardinality(String) DEFAULT currency AFTER list_charge;
ALTER TABLE usage_events ADD COLUMN IF NOT EXISTS provider_cost Decimal(38, 12) DEFAULT cost AFTER provider_currency;
-- What was held for the request, and the limits that it was admitted within (JSON); on its final row.
ALTER TABLE usage_events ADD COLUMN IF NOT EXISTS hold Decimal(38, 12) DEFAULT 0 AFTER provider_cost;
ALTER TABLE usage_events ADD COLUMN IF NOT EXISTS limits String DEFAULT '' CODEC(ZSTD(3)) AFTER hold;
