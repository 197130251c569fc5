-- The tier of service that the provider reported, which prices may depend on; empty is the usual one.
ALTER TABLE usage_events ADD COLUMN IF NOT EXISTS service_tier LowCardinality(String) DEFAULT '' AFTER extra_units;
