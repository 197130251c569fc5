-- Usage rows, one per event and per adjustment. Immutable; sums over `charge` equal the ledger's charges.
CREATE TABLE IF NOT EXISTS usage_events (
    event_id UUID,
    kind Enum8('usage' = 1, 'adjustment' = 2),
    corrects_event_id UUID,
    request_id String CODEC(ZSTD(1)),
    try UInt8,
    attempt UInt8,
    source LowCardinality(String),
    status LowCardinality(String),
    replay Bool,
    final Bool,
    superseded Bool,
    estimated Bool,
    trace_id String CODEC(ZSTD(1)),
    trace_kept Bool,
    started_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    ended_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    logged_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    ingested_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    organization_id LowCardinality(String),
    project_id LowCardinality(String),
    api_key_id String CODEC(ZSTD(1)),
    price_group LowCardinality(String),
    model LowCardinality(String),
    upstream_model LowCardinality(String),
    provider LowCardinality(String),
    channel LowCardinality(String),
    dialect LowCardinality(String),
    operation LowCardinality(String),
    stream Bool,
    outcome LowCardinality(String),
    upstream_status UInt16,
    error_kind LowCardinality(String),
    media_job_id String CODEC(ZSTD(1)),
    input_tokens UInt64 CODEC(T64, ZSTD(1)),
    output_tokens UInt64 CODEC(T64, ZSTD(1)),
    cache_read_tokens UInt64 CODEC(T64, ZSTD(1)),
    cache_write_5m_tokens UInt64 CODEC(T64, ZSTD(1)),
    cache_write_1h_tokens UInt64 CODEC(T64, ZSTD(1)),
    reasoning_tokens UInt64 CODEC(T64, ZSTD(1)),
    audio_input_tokens UInt64 CODEC(T64, ZSTD(1)),
    audio_output_tokens UInt64 CODEC(T64, ZSTD(1)),
    image_input_tokens UInt64 CODEC(T64, ZSTD(1)),
    image_output_tokens UInt64 CODEC(T64, ZSTD(1)),
    requests UInt64 CODEC(T64, ZSTD(1)),
    images UInt64 CODEC(T64, ZSTD(1)),
    extra_units Map(LowCardinality(String), UInt64),
    charge Decimal(38, 12),
    cost Decimal(38, 12),
    loss Decimal(38, 12),
    currency LowCardinality(String),
    unpriced Bool,
    price_digest LowCardinality(String),
    config_digest LowCardinality(String),
    upstream_started_us UInt32 CODEC(T64, ZSTD(1)),
    first_byte_us UInt32 CODEC(T64, ZSTD(1)),
    total_us UInt32 CODEC(T64, ZSTD(1)),
    batch String CODEC(ZSTD(1)),
    src_epoch LowCardinality(String),
    src_topic LowCardinality(String),
    src_partition UInt16,
    src_offset UInt64 CODEC(Delta, ZSTD(1)),
    src_index UInt16,
    INDEX by_request request_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX by_trace trace_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX by_logged logged_at TYPE minmax GRANULARITY 1,
    INDEX by_ingested ingested_at TYPE minmax GRANULARITY 1,
    INDEX by_offset src_offset TYPE minmax GRANULARITY 1
) ENGINE = MergeTree
PARTITION BY toYYYYMM(started_at)
PRIMARY KEY (organization_id, toStartOfHour(started_at))
ORDER BY (organization_id, toStartOfHour(started_at), project_id, model, started_at)
SETTINGS non_replicated_deduplication_window = 100000, fsync_after_insert = 1, fsync_part_directory = 1;

-- Where router and billing computed different charges.
CREATE TABLE IF NOT EXISTS usage_mismatches (
    event_id UUID,
    request_id String,
    organization_id LowCardinality(String),
    model LowCardinality(String),
    price_digest LowCardinality(String),
    reason LowCardinality(String),
    detail String,
    found_pico Int64,
    expected_pico Int64,
    batch String,
    src_offset UInt64,
    found_at DateTime64(6, 'UTC')
) ENGINE = MergeTree
PARTITION BY toYYYYMM(found_at)
ORDER BY (found_at, event_id)
SETTINGS non_replicated_deduplication_window = 10000;

-- Records that could not be used, with their original bytes.
CREATE TABLE IF NOT EXISTS usage_poison (
    topic LowCardinality(String),
    partition UInt16,
    offset UInt64,
    logged_at DateTime64(6, 'UTC'),
    reason String,
    key_base64 String,
    value_base64 String
) ENGINE = MergeTree
PARTITION BY toYYYYMM(logged_at)
ORDER BY (topic, partition, offset)
SETTINGS non_replicated_deduplication_window = 10000;
