-- Who makes most images and video?
-- reads: usage_1d
-- parameter organization =: id of an organization; empty is all of them, for operators
-- parameter since = month: the first moment
-- parameter until = now: the moment after the last
-- parameter top = 20: how many organizations
-- column organization_id: who paid
-- column images [images]: made
-- column video_seconds [s]: made, of every resolution, with sound or without: `video`, `video:…`
SELECT
    r.organization_id AS organization_id,
    sum(r.images) AS images,
    sum(arraySum(mapValues(mapFilter((name, count) -> name = 'video' OR startsWith(name, 'video:'), r.extra_units)))) AS video_seconds
FROM usage_1d AS r
WHERE ({organization:String} = '' OR r.organization_id = {organization:String})
    AND toDateTime(r.day, 'UTC') >= {since:DateTime('UTC')} AND toDateTime(r.day, 'UTC') < {until:DateTime('UTC')}
    AND (r.images != 0 OR notEmpty(r.extra_units))
GROUP BY organization_id
HAVING images != 0 OR video_seconds != 0
ORDER BY images DESC, video_seconds DESC, organization_id
LIMIT {top:UInt32}
