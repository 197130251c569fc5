-- What the caller named where another model answered, why, and the explanation of a request that fell back (JSON).
ALTER TABLE usage_events ADD COLUMN IF NOT EXISTS requested_model LowCardinality(String) DEFAULT '' AFTER model;
ALTER TABLE usage_events ADD COLUMN IF NOT EXISTS fallback_reason LowCardinality(String) DEFAULT '' AFTER requested_model;
ALTER TABLE usage_events ADD COLUMN IF NOT EXISTS routing String DEFAULT '' CODEC(ZSTD(3)) AFTER media_job_id;
