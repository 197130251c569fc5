"""What callers were told is judged: what is wrong is found, and excused only where edge was the victim."""

import json

import pytest

from tests.chaos.accidents import SERVICES, Accident
from tests.chaos.answers import DEADLINE_SECONDS, GRACE_SECONDS, Moment, check_answers, problem_of
from tests.integration.traffic import Answer, Call

pytestmark = pytest.mark.unit

CHAT = Call("chat", "/chat/completions", {})
STREAM = Call("stream", "/chat/completions", {"stream": True})
LEAVING = Call("leaving stream", "/chat/completions", {"stream": True}, leaves=True)
CHUNK = b'data: {"choices":[{"index":0,"delta":{"content":"\\"error\\""}}]}\n\n'
END = b"data: [DONE]\n\n"


def error(code="service_unavailable", **changes):
    members = {"message": "m", "type": "t", "param": None, "code": code, "doc_url": "d"} | changes
    return json.dumps({"error": members}).encode()


def answer(call=CHAT, status=200, text=b"{}", *, whole=True, began=10.0, ended=11.0, request_id="req_1"):
    return Answer(call, request_id, status, whole, text, began=began, ended=ended)


GOOD = {
    "whole": answer(),
    "a stream": answer(STREAM, text=CHUNK * 2 + END),
    "a stream with comments": answer(STREAM, text=b": keep-alive\n\n" + CHUNK + END),
    "refused for a while": answer(status=503, text=error()),
    "the provider is away": answer(STREAM, status=502, text=error("upstream_unavailable")),
    "a stream that says that it broke off": answer(
        STREAM, text=CHUNK + b"data: " + error("upstream_cut") + b"\n\n" + END
    ),
    "the same, and nothing behind it": answer(STREAM, text=b"data: " + error("upstream_timeout") + b"\n\n"),
}
BAD = {
    "nothing came": answer(status=0, text=b"", whole=False, request_id=""),
    "half a document": answer(text=b'{"cho', whole=False),
    "half a document that looks whole": answer(text=b'{"cho'),
    "half a stream": answer(STREAM, text=CHUNK, whole=False),
    "a stream without its end": answer(STREAM, text=CHUNK),
    "a stream of something else": answer(STREAM, text=b"<html></html>"),
    "a stream with half a chunk": answer(STREAM, text=b'data: {"cho\n\n' + END),
    "a stream that goes on": answer(STREAM, text=b"data: " + error("upstream_cut") + b"\n\n" + CHUNK + END),
    "an error that nobody foresaw": answer(status=500, text=error("internal_error")),
    "an error within a stream that nobody foresaw": answer(STREAM, text=b"data: " + error("internal_error") + b"\n\n"),
    "another status than its code's": answer(status=502, text=error()),
    "an unknown code": answer(status=503, text=error("oh_no")),
    "no words": answer(status=503, text=error(message="")),
    "a proxy's page": answer(status=503, text=b"<html></html>"),
    "no id": answer(request_id=""),
    "too late": answer(ended=10 + DEADLINE_SECONDS + GRACE_SECONDS + 1),
}


@pytest.mark.parametrize("found", GOOD.values(), ids=GOOD.keys())
def test_what_callers_can_act_on(found):
    assert problem_of(found) == ""
    check_answers([found], [])


@pytest.mark.parametrize("found", BAD.values(), ids=BAD.keys())
def test_what_they_cannot(found):
    assert problem_of(found)
    with pytest.raises(AssertionError, match="1 answers that are none"):
        check_answers([found], [])
    # Whatever happens to the others, edge was there.
    others = Moment(Accident("kill", tuple(one for one in SERVICES if one not in {"edge", "router"}), 0, 0), 10.5, 10.6)
    with pytest.raises(AssertionError):
        check_answers([found], [others])


BROKEN = BAD["nothing came"]


@pytest.mark.parametrize(
    ("moment", "excused"),
    [
        (Moment(Accident("kill", ("edge",), 0, 0), 10.5, 10.6), True),
        (Moment(Accident("kill all", SERVICES, 0, 0), 10.5, 10.6), True),
        (Moment(Accident("kill the supervisor", (), 0, 0), 10.5, 10.6), True),
        (Moment(Accident("stand still", ("edge",), 0, 0.1), 10.5, 10.6), True),
        # Until something that was asked afterwards is answered.
        (Moment(Accident("kill", ("edge",), 0, 0), 8.0, 8.1), True),
        (Moment(Accident("kill", ("edge",), 0, 0), 4.0, 4.1), False),
        (Moment(Accident("kill", ("edge",), 0, 0), 12.0, 12.1), False),
        (Moment(Accident("kill", ("router",), 0, 0), 10.5, 10.6), False),
    ],
)
def test_only_a_victim_is_excused_and_until_it_is_back(moment, excused):
    around = [answer(began=5.0, ended=9.5), answer(began=9.0, ended=10.2), answer(began=20.0, ended=21.0)]
    if excused:
        check_answers([*around, BROKEN], [moment])
    else:
        with pytest.raises(AssertionError):
            check_answers([*around, BROKEN], [moment])


def test_half_a_document_is_excused_when_router_went_away():
    gone = Moment(Accident("kill", ("router",), 0, 0), 10.5, 10.6)
    check_answers([BAD["half a document"]], [gone])
    # A stream has words for it.
    with pytest.raises(AssertionError):
        check_answers([BAD["half a stream"]], [gone])


def test_who_leaves_is_told_nothing():
    check_answers([answer(LEAVING, text=CHUNK, whole=False)], [])
