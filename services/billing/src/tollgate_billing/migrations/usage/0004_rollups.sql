-- Rollups, each filled straight from usage_events by a view of its own, so that one can be mended without the others.
--
-- `rows` counts rows of usage_events. All other counts are requests as they stand: the final that carries a request's
-- charge counts once, and its adjustment, which repeats it, takes it away again. `attempts` are calls to providers that
-- routers reported; nothing takes one back.
--
-- Every table has its own deduplication window: a batch that is sent again is counted twice by none of them.
-- This step may be repeated from the start: until it is recorded, rollups hold nothing that usage_events does not.
DROP VIEW IF EXISTS usage_1m_from_events;
DROP TABLE IF EXISTS usage_1m;
DROP VIEW IF EXISTS usage_1h_from_events;
DROP TABLE IF EXISTS usage_1h;
DROP VIEW IF EXISTS usage_1d_from_events;
DROP TABLE IF EXISTS usage_1d;

-- By minute, for dashboards and alerts: rates, errors and latencies of channels. Asked about the last hours, often of
-- all organizations, and therefore in the order of hours.
CREATE TABLE IF NOT EXISTS usage_1m (
    minute DateTime('UTC'),
    organization_id LowCardinality(String),
    project_id LowCardinality(String),
    model LowCardinality(String),
    provider LowCardinality(String),
    channel LowCardinality(String),
    currency LowCardinality(String),
    rows SimpleAggregateFunction(sum, UInt64),
    requests SimpleAggregateFunction(sum, Int64),
    errors SimpleAggregateFunction(sum, Int64),
    unpriced SimpleAggregateFunction(sum, Int64),
    cache_hits SimpleAggregateFunction(sum, Int64),
    attempts SimpleAggregateFunction(sum, UInt64),
    failed_attempts SimpleAggregateFunction(sum, UInt64),
    input_tokens SimpleAggregateFunction(sum, Int64),
    output_tokens SimpleAggregateFunction(sum, Int64),
    cache_read_tokens SimpleAggregateFunction(sum, Int64),
    cache_write_5m_tokens SimpleAggregateFunction(sum, Int64),
    cache_write_1h_tokens SimpleAggregateFunction(sum, Int64),
    reasoning_tokens SimpleAggregateFunction(sum, Int64),
    audio_input_tokens SimpleAggregateFunction(sum, Int64),
    audio_output_tokens SimpleAggregateFunction(sum, Int64),
    image_input_tokens SimpleAggregateFunction(sum, Int64),
    image_output_tokens SimpleAggregateFunction(sum, Int64),
    images SimpleAggregateFunction(sum, Int64),
    charge SimpleAggregateFunction(sum, Decimal(38, 12)),
    cost SimpleAggregateFunction(sum, Decimal(38, 12)),
    loss SimpleAggregateFunction(sum, Decimal(38, 12)),
    total_us AggregateFunction(quantilesTDigestIf(0.5, 0.95, 0.99), UInt32, UInt8),
    first_byte_us AggregateFunction(quantilesTDigestIf(0.5, 0.95, 0.99), UInt32, UInt8)
) ENGINE = AggregatingMergeTree
PARTITION BY toMonday(minute)
ORDER BY (toStartOfHour(minute), organization_id, minute, project_id, model, provider, channel, currency)
SETTINGS non_replicated_deduplication_window = 100000, fsync_after_insert = 1, fsync_part_directory = 1;

CREATE MATERIALIZED VIEW IF NOT EXISTS usage_1m_from_events TO usage_1m AS
WITH
    toInt64(multiIf(e.kind = 'adjustment', -1, e.final AND NOT e.superseded, 1, 0)) AS sign,
    e.kind = 'usage' AND e.source = 'router' AND e.outcome != 'refused' AS attempt,
    attempt AND e.outcome = 'ok' AS answered
SELECT
    toStartOfMinute(e.started_at) AS minute,
    e.organization_id AS organization_id,
    e.project_id AS project_id,
    e.model AS model,
    e.provider AS provider,
    e.channel AS channel,
    e.currency AS currency,
    count() AS rows,
    sum(sign) AS requests,
    sum(sign * (e.outcome != 'ok')) AS errors,
    sum(sign * e.unpriced) AS unpriced,
    sum(sign * (e.cache_read_tokens > 0)) AS cache_hits,
    countIf(attempt) AS attempts,
    countIf(attempt AND e.outcome IN ('upstream_error', 'upstream_cut', 'timeout')) AS failed_attempts,
    sum(sign * toInt64(e.input_tokens)) AS input_tokens,
    sum(sign * toInt64(e.output_tokens)) AS output_tokens,
    sum(sign * toInt64(e.cache_read_tokens)) AS cache_read_tokens,
    sum(sign * toInt64(e.cache_write_5m_tokens)) AS cache_write_5m_tokens,
    sum(sign * toInt64(e.cache_write_1h_tokens)) AS cache_write_1h_tokens,
    sum(sign * toInt64(e.reasoning_tokens)) AS reasoning_tokens,
    sum(sign * toInt64(e.audio_input_tokens)) AS audio_input_tokens,
    sum(sign * toInt64(e.audio_output_tokens)) AS audio_output_tokens,
    sum(sign * toInt64(e.image_input_tokens)) AS image_input_tokens,
    sum(sign * toInt64(e.image_output_tokens)) AS image_output_tokens,
    sum(sign * toInt64(e.images)) AS images,
    sum(e.charge) AS charge,
    sum(e.cost) AS cost,
    sum(e.loss) AS loss,
    quantilesTDigestStateIf(0.5, 0.95, 0.99)(e.total_us, answered) AS total_us,
    quantilesTDigestStateIf(0.5, 0.95, 0.99)(e.first_byte_us, answered AND e.first_byte_us > 0) AS first_byte_us
FROM usage_events AS e
GROUP BY minute, organization_id, project_id, model, provider, channel, currency;

FILL usage_1m;

-- By hour and key.
CREATE TABLE IF NOT EXISTS usage_1h (
    hour DateTime('UTC'),
    organization_id LowCardinality(String),
    project_id LowCardinality(String),
    api_key_id String,
    model LowCardinality(String),
    provider LowCardinality(String),
    channel LowCardinality(String),
    currency LowCardinality(String),
    rows SimpleAggregateFunction(sum, UInt64),
    requests SimpleAggregateFunction(sum, Int64),
    errors SimpleAggregateFunction(sum, Int64),
    unpriced SimpleAggregateFunction(sum, Int64),
    cache_hits SimpleAggregateFunction(sum, Int64),
    attempts SimpleAggregateFunction(sum, UInt64),
    failed_attempts SimpleAggregateFunction(sum, UInt64),
    input_tokens SimpleAggregateFunction(sum, Int64),
    output_tokens SimpleAggregateFunction(sum, Int64),
    cache_read_tokens SimpleAggregateFunction(sum, Int64),
    cache_write_5m_tokens SimpleAggregateFunction(sum, Int64),
    cache_write_1h_tokens SimpleAggregateFunction(sum, Int64),
    reasoning_tokens SimpleAggregateFunction(sum, Int64),
    audio_input_tokens SimpleAggregateFunction(sum, Int64),
    audio_output_tokens SimpleAggregateFunction(sum, Int64),
    image_input_tokens SimpleAggregateFunction(sum, Int64),
    image_output_tokens SimpleAggregateFunction(sum, Int64),
    images SimpleAggregateFunction(sum, Int64),
    extra_units SimpleAggregateFunction(sumMap, Map(String, Int64)),
    charge SimpleAggregateFunction(sum, Decimal(38, 12)),
    cost SimpleAggregateFunction(sum, Decimal(38, 12)),
    loss SimpleAggregateFunction(sum, Decimal(38, 12)),
    total_us AggregateFunction(quantilesTDigestIf(0.5, 0.95, 0.99), UInt32, UInt8),
    first_byte_us AggregateFunction(quantilesTDigestIf(0.5, 0.95, 0.99), UInt32, UInt8)
) ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(hour)
ORDER BY (organization_id, hour, project_id, api_key_id, model, provider, channel, currency)
SETTINGS non_replicated_deduplication_window = 100000, fsync_after_insert = 1, fsync_part_directory = 1;

CREATE MATERIALIZED VIEW IF NOT EXISTS usage_1h_from_events TO usage_1h AS
WITH
    toInt64(multiIf(e.kind = 'adjustment', -1, e.final AND NOT e.superseded, 1, 0)) AS sign,
    e.kind = 'usage' AND e.source = 'router' AND e.outcome != 'refused' AS attempt,
    attempt AND e.outcome = 'ok' AS answered
SELECT
    toStartOfHour(e.started_at) AS hour,
    e.organization_id AS organization_id,
    e.project_id AS project_id,
    e.api_key_id AS api_key_id,
    e.model AS model,
    e.provider AS provider,
    e.channel AS channel,
    e.currency AS currency,
    count() AS rows,
    sum(sign) AS requests,
    sum(sign * (e.outcome != 'ok')) AS errors,
    sum(sign * e.unpriced) AS unpriced,
    sum(sign * (e.cache_read_tokens > 0)) AS cache_hits,
    countIf(attempt) AS attempts,
    countIf(attempt AND e.outcome IN ('upstream_error', 'upstream_cut', 'timeout')) AS failed_attempts,
    sum(sign * toInt64(e.input_tokens)) AS input_tokens,
    sum(sign * toInt64(e.output_tokens)) AS output_tokens,
    sum(sign * toInt64(e.cache_read_tokens)) AS cache_read_tokens,
    sum(sign * toInt64(e.cache_write_5m_tokens)) AS cache_write_5m_tokens,
    sum(sign * toInt64(e.cache_write_1h_tokens)) AS cache_write_1h_tokens,
    sum(sign * toInt64(e.reasoning_tokens)) AS reasoning_tokens,
    sum(sign * toInt64(e.audio_input_tokens)) AS audio_input_tokens,
    sum(sign * toInt64(e.audio_output_tokens)) AS audio_output_tokens,
    sum(sign * toInt64(e.image_input_tokens)) AS image_input_tokens,
    sum(sign * toInt64(e.image_output_tokens)) AS image_output_tokens,
    sum(sign * toInt64(e.images)) AS images,
    sumMap(mapApply((name, count) -> (toString(name), sign * toInt64(count)), e.extra_units)) AS extra_units,
    sum(e.charge) AS charge,
    sum(e.cost) AS cost,
    sum(e.loss) AS loss,
    quantilesTDigestStateIf(0.5, 0.95, 0.99)(e.total_us, answered) AS total_us,
    quantilesTDigestStateIf(0.5, 0.95, 0.99)(e.first_byte_us, answered AND e.first_byte_us > 0) AS first_byte_us
FROM usage_events AS e
GROUP BY hour, organization_id, project_id, api_key_id, model, provider, channel, currency;

FILL usage_1h;

-- By day and key, for months and years.
CREATE TABLE IF NOT EXISTS usage_1d (
    day Date,
    organization_id LowCardinality(String),
    project_id LowCardinality(String),
    api_key_id String,
    model LowCardinality(String),
    provider LowCardinality(String),
    currency LowCardinality(String),
    rows SimpleAggregateFunction(sum, UInt64),
    requests SimpleAggregateFunction(sum, Int64),
    errors SimpleAggregateFunction(sum, Int64),
    unpriced SimpleAggregateFunction(sum, Int64),
    cache_hits SimpleAggregateFunction(sum, Int64),
    attempts SimpleAggregateFunction(sum, UInt64),
    failed_attempts SimpleAggregateFunction(sum, UInt64),
    input_tokens SimpleAggregateFunction(sum, Int64),
    output_tokens SimpleAggregateFunction(sum, Int64),
    cache_read_tokens SimpleAggregateFunction(sum, Int64),
    cache_write_5m_tokens SimpleAggregateFunction(sum, Int64),
    cache_write_1h_tokens SimpleAggregateFunction(sum, Int64),
    reasoning_tokens SimpleAggregateFunction(sum, Int64),
    audio_input_tokens SimpleAggregateFunction(sum, Int64),
    audio_output_tokens SimpleAggregateFunction(sum, Int64),
    image_input_tokens SimpleAggregateFunction(sum, Int64),
    image_output_tokens SimpleAggregateFunction(sum, Int64),
    images SimpleAggregateFunction(sum, Int64),
    extra_units SimpleAggregateFunction(sumMap, Map(String, Int64)),
    charge SimpleAggregateFunction(sum, Decimal(38, 12)),
    cost SimpleAggregateFunction(sum, Decimal(38, 12)),
    loss SimpleAggregateFunction(sum, Decimal(38, 12))
) ENGINE = AggregatingMergeTree
PARTITION BY toYear(day)
ORDER BY (organization_id, day, project_id, api_key_id, model, provider, currency)
SETTINGS non_replicated_deduplication_window = 100000, fsync_after_insert = 1, fsync_part_directory = 1;

CREATE MATERIALIZED VIEW IF NOT EXISTS usage_1d_from_events TO usage_1d AS
WITH
    toInt64(multiIf(e.kind = 'adjustment', -1, e.final AND NOT e.superseded, 1, 0)) AS sign,
    e.kind = 'usage' AND e.source = 'router' AND e.outcome != 'refused' AS attempt
SELECT
    toDate(e.started_at) AS day,
    e.organization_id AS organization_id,
    e.project_id AS project_id,
    e.api_key_id AS api_key_id,
    e.model AS model,
    e.provider AS provider,
    e.currency AS currency,
    count() AS rows,
    sum(sign) AS requests,
    sum(sign * (e.outcome != 'ok')) AS errors,
    sum(sign * e.unpriced) AS unpriced,
    sum(sign * (e.cache_read_tokens > 0)) AS cache_hits,
    countIf(attempt) AS attempts,
    countIf(attempt AND e.outcome IN ('upstream_error', 'upstream_cut', 'timeout')) AS failed_attempts,
    sum(sign * toInt64(e.input_tokens)) AS input_tokens,
    sum(sign * toInt64(e.output_tokens)) AS output_tokens,
    sum(sign * toInt64(e.cache_read_tokens)) AS cache_read_tokens,
    sum(sign * toInt64(e.cache_write_5m_tokens)) AS cache_write_5m_tokens,
    sum(sign * toInt64(e.cache_write_1h_tokens)) AS cache_write_1h_tokens,
    sum(sign * toInt64(e.reasoning_tokens)) AS reasoning_tokens,
    sum(sign * toInt64(e.audio_input_tokens)) AS audio_input_tokens,
    sum(sign * toInt64(e.audio_output_tokens)) AS audio_output_tokens,
    sum(sign * toInt64(e.image_input_tokens)) AS image_input_tokens,
    sum(sign * toInt64(e.image_output_tokens)) AS image_output_tokens,
    sum(sign * toInt64(e.images)) AS images,
    sumMap(mapApply((name, count) -> (toString(name), sign * toInt64(count)), e.extra_units)) AS extra_units,
    sum(e.charge) AS charge,
    sum(e.cost) AS cost,
    sum(e.loss) AS loss
FROM usage_events AS e
GROUP BY day, organization_id, project_id, api_key_id, model, provider, currency;

FILL usage_1d;
