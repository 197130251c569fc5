-- How many calls of a channel failed, minute by minute?
-- for operators
-- reads: usage_1m
-- parameter channel: name of the channel
-- parameter since = 6h: the first moment
-- parameter until = now: the moment after the last
-- column minute [UTC]: begin of the minute; minutes without calls are left out
-- column attempts [calls]: calls that routers reported
-- column failed_attempts [calls]: refused or failed by the provider, broken off, or too slow
-- column error_share [share]: `failed_attempts` of `attempts`
SELECT
    r.minute AS minute,
    sum(r.attempts) AS attempts,
    sum(r.failed_attempts) AS failed_attempts,
    sum(r.failed_attempts) / sum(r.attempts) AS error_share
FROM usage_1m AS r
WHERE r.channel = {channel:String}
    AND r.minute >= {since:DateTime('UTC')} AND r.minute < {until:DateTime('UTC')}
GROUP BY minute
HAVING attempts > 0
ORDER BY minute
