"""What receivers of notices answer: a message counts as taken only when a second parser reads a code of 0 too."""

from random import Random
from typing import Final

from tests.fuzz.cases import Case, mostly, spoil
from tests.fuzz.second_json import NotJson, Number, Pairs, draw_object, read
from tollgate_billing.domain.signatures import VERDICTS

_CODES: Final = ["0", "19021", "310000", "45009"]
_ODD: Final = ["null", "false", "true", '"0"', "[]", "{}", "-0", "0.0", "1e999", '"\\ud800"', "9" * 40]
_SPICES: Final = [b'"', b"{", b"}", b",", b":", b"null", b"0", b"-", b"[" * 2_000, b"\xff", b"\\ud800", b" "]
_NAMES: Final = {"feishu": ("code", "StatusCode"), "dingtalk": ("errcode",), "wecom": ("errcode",)}
_LONGEST: Final = 300


class ReceiverAnswersTarget:
    """An answer with a code, whole or spoilt, and any status."""

    cost = 1

    def draw(self, source: Random) -> Case:
        pairs = [
            (source.choice(["code", "StatusCode", "errcode"]), mostly(source, _CODES, _ODD, 0.3)),
            (source.choice(["msg", "errmsg"]), mostly(source, ['"ok"', '"拒绝"'], _ODD, 0.3)),
        ]
        body = draw_object(source, [pair for pair in pairs if source.random() < 0.95]).encode("utf-8", "surrogatepass")
        return {
            "kind": source.choice(sorted(VERDICTS)),
            "status": source.choice([200, 200, 200, 204, 301, 404, 500]),
            "body": b"ok" if source.random() < 0.1 else spoil(source, body, _SPICES, most=2),
        }

    def check(self, case: Case) -> None:
        kind, status, body = case["kind"], case["status"], case["body"]
        problem = VERDICTS[kind](status, body)
        assert len(problem) <= _LONGEST, "more words than are kept"
        if problem:
            return
        assert 200 <= status < 300, "taken with an error's status"
        if kind == "slack":
            assert (status, body.strip()) == (200, b"ok"), "taken without the word"
        elif kind in _NAMES:
            try:
                said = read(body)
            except (NotJson, RecursionError):
                return
            assert isinstance(said, Pairs), "taken without an object"
            found = [said.last()[name] for name in _NAMES[kind] if name in said.last()]
            assert found, "taken without a code"
            assert isinstance(found[0], Number), "taken with a code that is no number"

    def close(self) -> None:
        pass
