-- How long do providers and channels take to answer?
-- for operators
-- reads: usage_1m
-- parameter since = 1h: the first moment
-- parameter until = now: the moment after the last
-- column provider: who was called
-- column channel: with which account
-- column attempts [calls]: calls that routers reported
-- column p50_ms [ms]: half of the whole answers took no longer, from request to last byte
-- column p95_ms [ms]: 95 of 100 took no longer
-- column p99_ms [ms]: 99 of 100 took no longer
-- column first_byte_p50_ms [ms]: the same of the first byte
-- column first_byte_p95_ms [ms]: the same of the first byte
-- column first_byte_p99_ms [ms]: the same of the first byte
WITH
    quantilesTDigestIfMerge(0.5, 0.95, 0.99)(r.total_us) AS total,
    quantilesTDigestIfMerge(0.5, 0.95, 0.99)(r.first_byte_us) AS first_byte
SELECT
    r.provider AS provider,
    r.channel AS channel,
    sum(r.attempts) AS attempts,
    if(isNaN(total[1]), NULL, round(total[1] / 1000, 1)) AS p50_ms,
    if(isNaN(total[2]), NULL, round(total[2] / 1000, 1)) AS p95_ms,
    if(isNaN(total[3]), NULL, round(total[3] / 1000, 1)) AS p99_ms,
    if(isNaN(first_byte[1]), NULL, round(first_byte[1] / 1000, 1)) AS first_byte_p50_ms,
    if(isNaN(first_byte[2]), NULL, round(first_byte[2] / 1000, 1)) AS first_byte_p95_ms,
    if(isNaN(first_byte[3]), NULL, round(first_byte[3] / 1000, 1)) AS first_byte_p99_ms
FROM usage_1m AS r
WHERE r.minute >= {since:DateTime('UTC')} AND r.minute < {until:DateTime('UTC')}
GROUP BY provider, channel
HAVING attempts > 0
ORDER BY provider, channel
