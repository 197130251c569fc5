-- Tags and owner of the key that was refused, as usage rows have them.
ALTER TABLE request_log ADD COLUMN IF NOT EXISTS tags LowCardinality(String) DEFAULT '' AFTER api_key_id;
ALTER TABLE request_log ADD COLUMN IF NOT EXISTS member LowCardinality(String) DEFAULT '' AFTER tags;
