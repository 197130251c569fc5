"""Functions that a query of an operator may call: they compute from their arguments and reach nothing else."""

from typing import Final

FUNCTIONS: Final = tuple(
    """
    plus minus multiply divide intDiv intDivOrZero modulo positiveModulo negate abs gcd lcm max2 min2 byteSize
    equals notEquals less greater lessOrEquals greaterOrEquals and or xor not in notIn exists
    if multiIf caseWithExpression coalesce ifNull nullIf isNull isNotNull isZeroOrNull assumeNotNull toNullable
    least greatest isNaN isFinite isInfinite ifNotFinite
    ceil ceiling floor round roundBankers roundDown trunc truncate sqrt cbrt exp exp2 exp10 log log2 log10 log1p ln pow
    power sign pi e widthBucket
    toInt8 toInt16 toInt32 toInt64 toInt128 toInt256 toUInt8 toUInt16 toUInt32 toUInt64 toUInt128 toUInt256 toFloat32
    toFloat64 toDecimal32 toDecimal64 toDecimal128 toDecimal256 toDecimalString toString toFixedString toBool toUUID
    toInt64OrNull toInt64OrZero toUInt64OrNull toUInt64OrZero toFloat64OrNull toFloat64OrZero toDecimal128OrNull
    CAST _CAST accurateCast accurateCastOrNull accurateCastOrDefault toTypeName toLowCardinality
    toDate toDate32 toDateTime toDateTime64 toDateOrNull toDateTimeOrNull date now now64 today yesterday timeZone
    toTimeZone toYear toQuarter toMonth toDayOfYear toDayOfMonth toDayOfWeek toHour toMinute toSecond toISOWeek
    toISOYear toWeek toYearWeek toYYYYMM toYYYYMMDD toYYYYMMDDhhmmss toUnixTimestamp toUnixTimestamp64Milli
    toUnixTimestamp64Micro fromUnixTimestamp fromUnixTimestamp64Milli fromUnixTimestamp64Micro toStartOfYear
    toStartOfISOYear toStartOfQuarter toStartOfMonth toStartOfWeek toStartOfDay toStartOfHour toStartOfMinute
    toStartOfSecond toStartOfInterval toStartOfFiveMinutes toStartOfTenMinutes toStartOfFifteenMinutes toMonday
    toLastDayOfMonth toLastDayOfWeek date_trunc dateTrunc dateAdd dateSub dateDiff date_diff age addYears addQuarters
    addMonths addWeeks addDays addHours addMinutes addSeconds subtractYears subtractQuarters subtractMonths
    subtractWeeks subtractDays subtractHours subtractMinutes subtractSeconds toIntervalYear toIntervalQuarter
    toIntervalMonth toIntervalWeek toIntervalDay toIntervalHour toIntervalMinute toIntervalSecond formatDateTime
    parseDateTime parseDateTimeBestEffort parseDateTimeBestEffortOrNull monthName dateName extract year month
    lower upper lowerUTF8 upperUTF8 length lengthUTF8 empty notEmpty concat concatWithSeparator substring substr mid
    substringUTF8 substringIndex left right reverse trim trimLeft trimRight trimBoth ltrim rtrim replace replaceOne
    replaceAll replaceRegexpOne replaceRegexpAll startsWith endsWith position positionCaseInsensitive locate like
    notLike ilike notILike match extractAll splitByChar splitByString splitByRegexp hasToken countSubstrings
    leftPad rightPad lpad rpad base64Encode base64Decode hex unhex format formatReadableSize formatReadableQuantity
    formatReadableDecimalSize formatReadableTimeDelta bar
    JSONExtract JSONExtractString JSONExtractInt JSONExtractUInt JSONExtractFloat JSONExtractBool JSONExtractRaw
    JSONExtractArrayRaw JSONExtractKeys JSONHas JSONLength JSONType isValidJSON
    array arrayElement arrayConcat arrayJoin arrayMap arrayFilter arrayExists arrayAll arrayCount arraySum arrayAvg
    arrayMin arrayMax arraySort arrayReverseSort arrayReverse arrayDistinct arrayUniq arrayEnumerate arrayZip
    arraySlice arrayFirst arrayLast arrayFirstIndex arrayStringConcat arrayCumSum arrayDifference arrayCompact
    arrayResize arrayPushBack arrayPushFront arrayPopBack arrayPopFront arrayFlatten arrayIntersect has hasAny hasAll
    indexOf countEqual range
    map mapKeys mapValues mapContains mapContainsKey mapFilter mapApply mapAdd mapSubtract mapFromArrays
    tuple tupleElement untuple lambda
    xxHash32 xxHash64 sipHash64 cityHash64 farmHash64 MD5 SHA1 SHA256 generateUUIDv4
    bitAnd bitOr bitXor bitShiftLeft bitShiftRight bitTest
    row_number rank dense_rank denseRank percent_rank percentRank cume_dist ntile lag lead lagInFrame leadInFrame
    first_value last_value nth_value grouping finalizeAggregation runningDifference transform materialize identity
    """.split()  # noqa: SIM905 - a list of words is easier to keep as words.
)
AGGREGATES: Final = tuple(
    """
    count sum sumKahan sumWithOverflow sumMap sumCount min max avg avgWeighted any anyLast anyHeavy any_value argMin
    argMax median quantile quantiles quantileExact quantilesExact quantileExactLow quantileExactHigh quantileTDigest
    quantilesTDigest quantileTiming quantilesTiming quantileDD quantilesDD uniq uniqExact uniqCombined uniqHLL12
    uniqTheta groupArray groupUniqArray groupArraySorted groupConcat groupBitAnd groupBitOr groupBitXor topK
    topKWeighted stddevPop stddevSamp varPop varSamp covarPop covarSamp corr skewPop kurtPop entropy histogram
    simpleLinearRegression maxMap minMap deltaSum retention exponentialMovingAverage
    """.split()  # noqa: SIM905 - as above.
)
COMBINATORS: Final = ("If", "Array", "Map", "Distinct", "OrNull", "OrDefault", "State", "Merge", "ArgMin", "ArgMax")
