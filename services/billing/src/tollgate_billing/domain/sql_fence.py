"""What an operator's SELECT may hold: our tables, harmless functions, and nothing that leaves the usage store.

An engine inside this process would read and write files for whoever asks: `file()`, `url()`, `INTO OUTFILE`. Its
read-only mode refuses some of them. The rest is refused here, on the text that the engine's own parser made of the
query, which is also what runs: whatever is called must be on the list, wherever it stands, and no name may reach into
another database.
"""

import re
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from typing import Final

from tollgate_billing.domain.sql_functions import AGGREGATES, COMBINATORS, FUNCTIONS
from tollgate_billing.errors import InvalidQuery

LONGEST_SQL: Final = 20_000
_TOKEN: Final = re.compile(
    r"""(?P<text>'(?:[^'\\]|\\.|'')*')"""
    r"""|(?P<quoted>`(?:[^`\\]|\\.|``)*`|"(?:[^"\\]|\\.|"")*")"""
    r"""|(?P<word>[A-Za-z_]\w*)|(?P<number>\d[\w.]*)|(?P<space>\s+)|(?P<sign>.)""",
    re.DOTALL,
)
_PLAIN_QUOTED: Final = re.compile(r"[\w ()%/+:@#-]{1,64}", re.ASCII)
_FORBIDDEN: Final = frozenset(
    {"OUTFILE", "INFILE", "SETTINGS", "FORMAT", "APPLY", "PARALLEL", "INSERT", "EXPLAIN", "DESCRIBE"}
)
# What the parser writes in capitals and may be followed by a bracket; none of them is a function that reaches out.
_KEYWORDS: Final = frozenset(
    """
    SELECT FROM WHERE PREWHERE HAVING QUALIFY AND OR NOT IN ON USING AS OVER BY JOIN ALL DISTINCT EXCEPT INTERSECT
    UNION WHEN THEN ELSE CASE BETWEEN LIKE ILIKE REGEXP IS LIMIT OFFSET WITH INTERVAL COLUMNS REPLACE SETS ROLLUP CUBE
    WINDOW FILL TO STEP INTERPOLATE TOTALS
    """.split()  # noqa: SIM905 - a list of words is easier to keep as words.
)
_TABLE: Final = re.compile(r"\A\s*TableIdentifier (.*?)(?: \(alias .*\))?\Z", re.DOTALL)
# Where a SELECT names no table, the engine takes this one, of one row.
_NO_TABLE: Final = "system.one"
_ROOT: Final = "SelectWithUnionQuery ("
_AGGREGATE: Final = re.compile(rf"({'|'.join(map(str.lower, AGGREGATES))})(?:{'|'.join(map(str.lower, COMBINATORS))})*")
_LISTED: Final = frozenset(map(str.lower, FUNCTIONS))


def check_sql(sql: str) -> None:
    """Checks what can be said before the engine reads it. Raises InvalidQuery."""
    if not sql.strip():
        raise InvalidQuery("there is no SQL; a SELECT over usage_events, usage_1m, usage_1h or usage_1d is expected")
    if len(sql) > LONGEST_SQL:
        raise InvalidQuery(f"the SQL has {len(sql)} characters; {LONGEST_SQL} are allowed")
    if "\0" in sql:
        raise InvalidQuery("the SQL holds a zero byte")


def check_words(formatted: str, views: AbstractSet[str], databases: Iterable[str]) -> None:
    """Checks a query as the engine's parser writes it: its calls and its names. Raises InvalidQuery."""
    reserved = {name.lower() for name in databases}
    tokens = [(match.lastgroup or "", match[0]) for match in _TOKEN.finditer(formatted)]
    tokens = [token for token in tokens if token[0] != "space"]
    if not tokens or tokens[0][1] not in {"SELECT", "WITH", "("}:
        raise InvalidQuery("only a SELECT can be run")
    for place, (kind, text) in enumerate(tokens):
        if kind not in {"word", "quoted"}:
            continue
        name = text if kind == "word" else text[1:-1]
        following = tokens[place + 1][1] if place + 1 < len(tokens) else ""
        if kind == "quoted" and not _PLAIN_QUOTED.fullmatch(name):
            raise InvalidQuery(f"the name {text[:70]} holds characters that are not allowed in names here")
        if kind == "word" and name in _FORBIDDEN:
            raise InvalidQuery(f"{name} is not allowed here: a SELECT alone, whose answer's form the caller chooses")
        if following == "." and name.lower() in reserved:
            raise InvalidQuery(f"only the usage store's own tables can be read, not those of {name}")
        if (
            following == "("
            and not (kind == "word" and name in _KEYWORDS)
            and name not in views
            and not _harmless(name)
        ):
            raise InvalidQuery(f"{name}() is not among the functions that can be used here")


def check_tree(lines: Sequence[str]) -> None:
    """Checks a query's syntax tree, as EXPLAIN AST writes it, for what it reads. Raises InvalidQuery."""
    if not lines or not lines[0].startswith(_ROOT):
        raise InvalidQuery("only a SELECT can be run")
    for line in lines:
        table = _TABLE.match(line)
        if table is not None and table[1] != _NO_TABLE and not re.fullmatch(r"\w{1,64}", table[1], re.ASCII):
            raise InvalidQuery(f"only the usage store's own tables can be read, not {table[1][:70]}")


def _harmless(name: str) -> bool:
    small = name.lower()
    return small in _LISTED or _AGGREGATE.fullmatch(small) is not None
