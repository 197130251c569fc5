-- Requests that edge refused: no usage row, no money. A record of the log may come twice; answers show an id once.
CREATE TABLE IF NOT EXISTS request_log (
    event_id UUID,
    request_id String CODEC(ZSTD(1)),
    refused_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    trace_id String CODEC(ZSTD(1)),
    organization_id LowCardinality(String),
    project_id LowCardinality(String),
    api_key_id String CODEC(ZSTD(1)),
    route LowCardinality(String),
    operation LowCardinality(String),
    model String CODEC(ZSTD(1)),
    stream Bool,
    http_status UInt16,
    code LowCardinality(String),
    message String CODEC(ZSTD(1)),
    request_bytes UInt64 CODEC(T64, ZSTD(1)),
    total_us UInt32 CODEC(T64, ZSTD(1)),
    left_out UInt64 CODEC(T64, ZSTD(1)),
    kept_until DateTime('UTC') CODEC(Delta, ZSTD(1)),
    INDEX by_request request_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX by_trace trace_id TYPE bloom_filter(0.01) GRANULARITY 1
) ENGINE = ReplacingMergeTree
PARTITION BY toDate(refused_at)
ORDER BY (organization_id, refused_at, request_id)
TTL kept_until
SETTINGS ttl_only_drop_parts = 1, non_replicated_deduplication_window = 1000;
