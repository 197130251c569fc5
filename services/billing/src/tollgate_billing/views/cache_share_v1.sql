-- How much of each project's input came from a prompt cache?
-- reads: usage_1d
-- parameter organization =: id of an organization; empty is all of them, for operators
-- parameter since = month: the first moment
-- parameter until = now: the moment after the last
-- column organization_id: who paid
-- column project_id: the project of the key
-- column requests [requests]: requests that were charged or would have been
-- column cache_hits [requests]: of these, with tokens from a cache
-- column hit_share [share]: `cache_hits` of `requests`
-- column input_tokens [tokens]: not from a cache
-- column cache_read_tokens [tokens]: from a cache
-- column cache_write_tokens [tokens]: written to a cache
-- column token_share [share]: `cache_read_tokens` of all input tokens
SELECT
    r.organization_id AS organization_id,
    r.project_id AS project_id,
    sum(r.requests) AS requests,
    sum(r.cache_hits) AS cache_hits,
    if(requests = 0, NULL, cache_hits / requests) AS hit_share,
    sum(r.input_tokens) AS input_tokens,
    sum(r.cache_read_tokens) AS cache_read_tokens,
    sum(r.cache_write_5m_tokens) + sum(r.cache_write_1h_tokens) AS cache_write_tokens,
    if(
        input_tokens + cache_read_tokens + cache_write_tokens = 0, NULL,
        cache_read_tokens / (input_tokens + cache_read_tokens + cache_write_tokens)
    ) AS token_share
FROM usage_1d AS r
WHERE ({organization:String} = '' OR r.organization_id = {organization:String})
    AND toDateTime(r.day, 'UTC') >= {since:DateTime('UTC')} AND toDateTime(r.day, 'UTC') < {until:DateTime('UTC')}
GROUP BY organization_id, project_id
ORDER BY requests DESC, organization_id, project_id
