"""Makes the raw facts of a month, and of a little before and after it, in the order in which they are booked."""

import random
from datetime import UTC, datetime, timedelta

DAY_US = 24 * 3600 * 10**6
ORGANIZATIONS = {"org-usd": "USD", "org-cny": "CNY"}
GROUPS = {"p0": "default", "p1": "vip", "p2": "partner"}
PROVIDERS = {"east": "openai-compatible", "west": "openai", "plain": "deepseek"}
MODELS = ("chat",) * 4 + ("mini", "mini", "half", "half", "picture", "picture", "searched", "unknown")
OUTCOMES = ("ok",) * 7 + ("upstream_error", "cancelled", "timeout")
SIZES = (("1024x1024", "high"), ("1024x1024", "low"), ("512x512", ""), ("1536x1024", "high"))
SERVICES = ("", "", "", "flex", "priority")
BEFORE, DURING, AFTER = 0, 1, 2


def times_of(now):
    """Returns the last whole month before a moment, and what happens when in it."""
    after = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    begin = (after - timedelta(days=1)).replace(day=1)
    times = {
        "begin": begin,
        "end": after,
        "early": begin + timedelta(days=6, hours=3, minutes=7),
        "halfway": begin + timedelta(days=14, hours=12, minutes=34, seconds=56, microseconds=789),
        "late": begin + timedelta(days=21, hours=23),
    }
    return times, {name: f"{at:%Y-%m-%dT%H:%M:%S.%fZ}" for name, at in times.items()}


def micros(moment):
    """Returns microseconds since the epoch."""
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def facts_of(seed, times, now_us, counts=(40, 320, 40)):
    """Returns the events of each phase as plain dictionaries; the last word about a request may come a phase later."""
    rng = random.Random(seed)
    begin, end = micros(times["begin"]), micros(times["end"])
    edges = [micros(times[name]) for name in ("early", "halfway", "late")]
    spans = ((begin - 2 * DAY_US, begin), (begin, end), (end, now_us))
    phases = [[], [], []]
    for phase, (span, count) in enumerate(zip(spans, counts, strict=True)):
        stories = []
        for number in range(count):
            at = rng.randrange(*span)
            if phase == DURING and number < 12:
                # To the microsecond where prices and rates change, and where the month does.
                at = (*edges, begin, *(edge - 1 for edge in edges), end - 1)[number % 8]
            story = _story(rng, f"s{seed}-{phase}-{number}", at)
            late = len(story) > 1 and rng.random() < 0.3 and phase != AFTER
            stories.append((story[:-1], story[-1:]) if late else (story, []))
        for _, later in stories:
            phases[phase + 1 if later else phase] += later
        phases[phase] += _mixed(rng, [mine for mine, _ in stories if mine])
    return phases


def _mixed(rng, stories):
    found = []
    while stories:
        story = rng.choice(stories)
        found.append(story.pop(0))
        stories = [one for one in stories if one]
    return found


def _story(rng, name, started_us):
    organization, project = rng.choice(tuple(ORGANIZATIONS)), rng.choice(tuple(GROUPS))
    about = {
        "request_id": name,
        "organization": organization,
        "currency": ORGANIZATIONS[organization],
        "project": project,
        "group": GROUPS[project],
        "key": f"k{rng.randrange(5)}",
        "model": rng.choice(MODELS),
        "started_us": started_us,
        "ended_us": started_us + rng.randrange(1, 5_000_000),
    }
    if about["model"] == "picture":
        return [_picture(rng, about)]

    def said(source="router", status="confirmed", tried=1, attempt=1, *, final=True):
        return _event(rng, about, source, status, tried, attempt, final=final)

    normal = said()
    lost, witness = said(status="unconfirmed"), said("witness", "witness", attempt=0)
    return rng.choice(
        [
            *[[normal]] * 5,
            [normal, dict(normal)],
            [normal, normal | {"replay": True}],
            [said(final=False), said(attempt=2)],
            [witness],
            [witness, lost],
            [lost, witness],
            [lost, said(tried=2)],
            [witness, said(tried=2)],
            [lost, normal | {"replay": True}],
        ]
    )


def _event(rng, about, source, status, tried, attempt, *, final):
    router = source == "router"
    outcome = rng.choice(OUTCOMES) if router and final else "upstream_error" if router else "router_lost"
    channel = rng.choice(tuple(PROVIDERS)) if router else ""
    event = about | {
        "id": f"{about['request_id']}/{tried}/{attempt}/{source}",
        "source": source,
        "status": status,
        "try": tried,
        "attempt": attempt,
        "final": final,
        "replay": False,
        "operation": "chat",
        "channel": channel,
        "provider": PROVIDERS.get(channel, ""),
        "outcome": outcome,
        "service": rng.choice(SERVICES) if router else "",
        "first_byte_us": rng.randrange(1, 10**6) if router else 0,
        "total_us": rng.randrange(10**6, 10**7) if router else 0,
    }
    return event | {"units": _units(rng, about["model"], router=router, answered=outcome == "ok", final=final)}


def _units(rng, model, *, router, answered, final):
    if not router:
        return {"request": 1, "input": rng.randrange(1, 9_000), "output": rng.randrange(1, 2_000)}
    if not final and rng.random() < 0.5:
        return {}
    units = {"request": 1} if answered else {}
    # Sometimes no more than was said, so that what has half of its prices is charged after all.
    units["input"] = rng.randrange(1, 9_000)
    if model != "half" or rng.random() < 0.7:
        units["output"] = rng.randrange(1, 2_000)
    if model == "chat":
        for unit, most in (
            ("cache_read", 30_000),
            ("cache_write_5m", 500),
            ("cache_write_1h", 500),
            ("reasoning", 900),
        ):
            if rng.random() < 0.4:
                units[unit] = rng.randrange(1, most)
    if model == "searched":
        units |= {"search": rng.randrange(1, 4), "tool_call:web": rng.randrange(1, 4)}
    return units


def _picture(rng, about):
    event = _event(rng, about, "router", "confirmed", 1, rng.randrange(1, 3), final=True)
    size, quality = rng.choice(SIZES)
    units = {"request": 1, ":".join(part for part in ("image", size, quality) if part): rng.randrange(1, 4)}
    if rng.random() < 0.6:
        units |= {"input": rng.randrange(1, 200), "image_output": rng.randrange(200, 5_000)}
    return event | {"operation": "image", "units": units, "outcome": "ok", "service": "", "first_byte_us": 0}
