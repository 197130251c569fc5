-- Whose key it was, as the operator named them.
ALTER TABLE usage_events ADD COLUMN IF NOT EXISTS member LowCardinality(String) DEFAULT '' AFTER tags;
-- The network of the caller's address, and a keyed hash of the request's body (0: not taken), by which a key that got
-- into other hands and a program that runs in a loop are noticed.
ALTER TABLE usage_events ADD COLUMN IF NOT EXISTS client_network LowCardinality(String) DEFAULT '' AFTER media_job_id;
ALTER TABLE usage_events ADD COLUMN IF NOT EXISTS prompt_hash UInt64 DEFAULT 0 CODEC(ZSTD(1)) AFTER client_network;
