"""Names that stand twice in an object are found wherever they are, and nothing else is taken for one."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tollgate_router.domain.dialects.repeated import refuse_repeated
from tollgate_router.errors import Refused

pytestmark = pytest.mark.unit
# So that a body is a large one.
PAD = "Grüße, " * 1_000
LONG = "n" * 9_000
BLANKS = " \n" * 5_000


class TwiceError(ValueError):
    pass


def slowly(body):
    """Returns the name that stands twice in the innermost, first object; None where each stands once."""

    def once(pairs):
        names = [name for name, _ in pairs]
        for name in sorted(set(names), key=lambda one: (-names.count(one), names.index(one))):
            if names.count(name) > 1:
                raise TwiceError(name)

    try:
        json.loads(body, object_pairs_hook=once, parse_int=str, parse_float=str)
    except TwiceError as found:
        return str(found)
    return None


def found_in(body):
    try:
        refuse_repeated(body)
    except Refused as refused:
        return refused.param
    return None


def check(text):
    """The same is found whatever texts stand before and behind, and in a buffer that can change."""
    for body in (text, f'["{PAD}",{text}]', f'[{text}, "{PAD}"]', f'[{{"{PAD}" :{text}}}]'):
        expected = slowly(body)
        assert found_in(body.encode()) == (expected and expected[:80])
        assert found_in(bytearray(body.encode())) == (expected and expected[:80])


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1,"a":2}',
        '{"a":1,"\\u0061":2}',
        '{"a":1,"b":{"a":1}}',
        '[{"a":1},{"a":1}]',
        '{"a" : 1, "b": ["x", {"c":1,"c":2}]}',
        # Long names that are the same, nearly the same, and the same in other letters.
        f'{{"{LONG}":1,"{LONG}":2}}',
        f'{{"{LONG}x":1,"{LONG}y":2}}',
        f'{{"{LONG}x":1,"{LONG}\\u0078":2}}',
        f'{{"{LONG}\\"{LONG}":1,"{LONG}\\u0022{LONG}" \n:2}}',
        f'{{"\\"{LONG}":1,"\\"{LONG}x":2}}',
        # Texts that look like the end of a string, or of a name.
        f'{{"a":"{LONG}\\\\","a":1}}',
        f'{{"a":"{LONG}\\\\\\"","b":"{LONG}\\"a\\":","a":1}}',
        f'{{"a":["{LONG}",":"],"b":"{LONG}\\":","c":"{LONG}"}}',
        f'{{"a":"{LONG}\\u00e9{LONG}\\"{LONG}","b":1}}',
        # Long, and no texts.
        f'{{"a":[{"1, " * 6_000}1],"b":[{BLANKS}],"a":1}}',
        f'{{"a":[{"true,null,false,-1.5e+3," * 900}0],"b":{BLANKS}1}}',
        f'{{"a":"{"1" * 9_000}","b":"{"true " * 3_000}"}}',
        f'{{"{LONG}x"{BLANKS}:1,"{LONG}y":{BLANKS}2}}',
        f'{{"a":"{LONG}\\u00e9","a":[{"1, " * 6_000}1]}}',
        f'{{"a":"{"/" * 9_000}{chr(92) * 9_000}","b":1,"b":"{"/" * 9_000}{chr(92) * 9_001}""}}',
    ],
)
def test_names_are_compared_and_texts_are_not(text):
    check(text)


LETTERS = st.sampled_from(["a", "b", '"', "\\", "/", ":", ",", "{", "}", "[", "1", " ", "\n", "é", "😀", "a" * 9_000])
TEXTS = st.lists(LETTERS, max_size=6).map("".join)


def written(text, escaped):
    """Returns a text in quotes; `escaped` is its first letter as an escape."""
    if escaped and text and ord(text[0]) < 0x10000:
        return f'"\\u{ord(text[0]):04x}{json.dumps(text[1:], ensure_ascii=False)[1:]}'
    return json.dumps(text, ensure_ascii=False)


STRINGS = st.builds(written, TEXTS, st.booleans())
SPACES = st.sampled_from(["", "", " ", "\n\t" * 40])


def values(inner):
    pairs = st.tuples(STRINGS, SPACES, SPACES, inner).map(lambda pair: f"{pair[0]}{pair[1]}:{pair[2]}{pair[3]}")
    return st.one_of(
        st.lists(inner, max_size=4).map(lambda found: f"[{','.join(found)}]"),
        st.lists(pairs, max_size=5).map(lambda found: f"{{{','.join(found)}}}"),
    )


@settings(max_examples=400, deadline=None)
@given(
    st.recursive(st.one_of(STRINGS, st.sampled_from(["1", "-0.5e3", "true", "null", "1" * 80, f"[{BLANKS}]"])), values)
)
def test_what_is_found_is_what_a_slow_reader_finds(text):
    check(text)
