-- Tags of the key, in alphabetic order, divided by commas: has(splitByChar(',', tags), 'search').
ALTER TABLE usage_events ADD COLUMN IF NOT EXISTS tags LowCardinality(String) DEFAULT '' AFTER api_key_id;
