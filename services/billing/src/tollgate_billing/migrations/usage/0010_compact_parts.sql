-- What a batch adds to a table is one file up to this size of its rows, in bytes, and not one or more for each column: of
-- 50,000 rows it would be some hundreds, each of which is synced. Merged parts become larger than that and wide.
ALTER TABLE usage_events MODIFY SETTING min_bytes_for_wide_part = 67108864;
ALTER TABLE usage_1m MODIFY SETTING min_bytes_for_wide_part = 67108864;
ALTER TABLE usage_1h MODIFY SETTING min_bytes_for_wide_part = 67108864;
ALTER TABLE usage_1d MODIFY SETTING min_bytes_for_wide_part = 67108864;
