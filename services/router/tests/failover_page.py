"""Writes the tables of docs/reference/failover.md from the tests that run through them."""

from pathlib import Path

from services.router.tests.unit import test_breaker, test_health, test_probes, test_repeating, test_walk
from tests.integration import test_faults

from tollgate_router.domain.upstream_errors import kind_name

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "reference" / "failover.md"
UNIT = "services/router/tests/unit"

BEGIN = "<!-- Written by `make failover`. -->"

ASKED = {True: "asked", False: "not asked"}
WAY = ("scenario", "declared", "problems", "asked, in order")
EVENTS = {"f": "fails", "s": "succeeds", "p": "a request goes out", "w": "its caller leaves"}


def render() -> str:
    """Returns the page: its rules as they are written there, and the tables."""
    rules, _, _ = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    tables = (_breaker(), _paths(), _passed_over(), _once(), _benches(), _probes(), _faults())
    return "\n".join((rules + BEGIN, "", *tables))


def main() -> None:
    """Writes the page."""
    PAGE.write_text(render(), encoding="utf-8")


def _breaker() -> str:
    policy = test_breaker.POLICY
    about = (
        f"Here {policy.consecutive_failures} failures in a row open it, or {policy.failure_ratio:.0%} of at least "
        f"{policy.ratio_failures} failures within {policy.window} s; it stays open for {policy.open_first} s at first "
        f"and {policy.open_last} s at most, and a probe has {policy.probe_patience} s."
    )
    test = _test("test_a_breaker", f"{UNIT}/test_breaker.py")
    rows = []
    for name, steps in test_breaker.SCENARIOS.items():
        done = "; ".join(f"{now} s: {_events(events)}" for now, events, *_ in steps)
        ends = "; ".join(f"{_state(state, until)}" for _, _, state, until in steps)
        rows.append((name, done, ends, test))
    return _table("A breaker", about, ("scenario", "what happens", "state after each step"), rows)


def _events(events: str) -> str:
    found: list[list[str | int]] = []
    for event in events:
        if found and found[-1][0] == EVENTS[event]:
            found[-1][1] += 1
        else:
            found.append([EVENTS[event], 1])
    return ", ".join(f"{event} × {count}" if count > 1 else str(event) for event, count in found)


def _state(state, until) -> str:
    return f"{state.value} until {until} s" if until else state.value


def _paths() -> str:
    about = (
        "Each attempt ends with the problem in its place, and the one behind the last problem is answered. Channels by "
        "level, `a → b`; of fallback models the order by reason."
    )
    return _table("The way of a request", about, WAY, _ways(test_walk.PATHS, "test_a_path"))


def _passed_over() -> str:
    about = (
        "A chat with `logprobs`, which Anthropic's wire has no place for. Written as above; who is not said to be "
        "Anthropic's speaks OpenAI's wire."
    )
    rows = _ways(test_walk.PASSED_OVER, "test_who_cannot_be_told_what_is_asked_is_passed_over")
    return _table("Who cannot be told what is asked", about, WAY, rows)


def _ways(table, name) -> list[tuple[str, ...]]:
    test = _test(name, f"{UNIT}/test_walk.py")
    return [
        (
            name,
            _declared(*declared),
            ", ".join(kind_name(one.kind) for one in problems) or "none",
            " → ".join(way) or "nobody",
            test,
        )
        for name, (declared, problems, way) in table.items()
    ]


def _declared(channels, routes) -> str:
    parts = []
    for channel in channels:
        models = [
            model if isinstance(model, str) else f"{model['name']} = {model['upstream']}" for model in channel["models"]
        ]
        keys = len(channel["credentials"])
        at = " at Anthropic" if channel["provider"] == "anthropic" else ""
        parts.append(f"{channel['name']}: {', '.join(models)}{at}{f', {keys} keys' if keys > 1 else ''}")
    said = "; ".join(parts)
    for route in routes:
        levels = " → ".join(" ".join(target["channel"] for target in level["targets"]) for level in route["levels"])
        said += f". Route {levels}"
        for reason, models in route.get("fallbacks", {}).items():
            said += f"; {reason}: {', '.join(models)}"
    return said


def _once() -> str:
    about = (
        "Whether the next provider is asked: for chat, embeddings, completions, moderations and reranks, and for what "
        "may be paid for twice (speech, transcripts, translations of sound)."
    )
    test = _test("test_after_a_failure_the_next_provider_is_asked", f"{UNIT}/test_repeating.py")
    rows = [(name, ASKED[any_], ASKED[once], test) for name, (_, any_, once) in test_repeating.FAILURES.items()]
    return _table("What leads on", about, ("the first attempt", "chat and its like", "asked once"), rows)


def _benches() -> str:
    test = _test("test_a_refused_credential_is_benched_with_its_reason", f"{UNIT}/test_health.py")
    rows = [(name, bench.value, test) for name, (_, bench) in test_health.BENCHES.items()]
    return _table("What benches a credential", "", ("answer", "reason that operators see"), rows)


def _probes() -> str:
    about = "A credential is benched by the first answer; then an active probe is answered by the second."
    test = _test("test_a_bench_ends_with_the_answer_that_shows_it", f"{UNIT}/test_probes.py")
    rows = [
        (name, "a token" if "model" in probe else "the list of models", str(before), str(answer), _held(held), test)
        for name, (probe, before, answer, held) in test_probes.ANSWERS.items()
    ]
    return _table("Active probes", about, ("scenario", "asks for", "benched by", "answered", "afterwards"), rows)


def _held(held) -> str:
    return "usable" if held is None else held.value


def _faults() -> str:
    about = (
        "The whole product: a fault at a stage of the call, of a whole reply or a stream. The first target fails and a "
        "second one answers, or fails alike and is the last. One failure opens the breaker here, so that it shows. "
        "Afterwards no task, socket, connection or hold is left, and ledger, wallet and usage rows agree."
    )
    test = _test("test_a_fault", "tests/integration/test_faults.py")
    rows = []
    for (name, reply, place), fault in test_faults.TABLE.items():
        if place == "first":
            rows.append((name, reply, *_outcome(fault), fault.kind or "closed", test))
    columns = ("fault", "reply", "another target behind it", "last target", "breaker of the target")
    return _table("Faults", about, columns, rows)


def _outcome(fault) -> tuple[str, str]:
    if fault.delivered == "cut":
        told = f"200, then the error `{fault.code}` and `[DONE]`; asked nowhere else; charged for what was delivered"
        return told, "the same"
    if fault.delivered == "whole":
        return "200, whole; asked nowhere else; charged once", "the same"
    refused = f"{fault.status} `{fault.code}`"
    if fault.delivered == "refused":
        return f"{refused}; asked nowhere else; charged 0", "the same"
    return "200 by the second; charged once, for the second", f"{refused} after both; charged 0"


def _test(name: str, file: str) -> str:
    return f"[{name}](../../{file})"


def _table(title: str, about: str, columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [f"## {title}", "", *([about, ""] if about else []), f"| {' | '.join((*columns, 'test'))} |"]
    lines.append("|" + "---|" * (len(columns) + 1))
    lines += [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join((*lines, ""))


if __name__ == "__main__":
    main()
