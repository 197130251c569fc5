"""Forms: what is read of them, and what is refused of broken ones."""

import pytest

from tollgate_kit.multipart import MAX_PARTS, BrokenForm, boundary_of, form_type, is_form, read_parts

HEAD = b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\nm\r\n'
FILE = b'--x\r\ncontent-disposition: form-data; filename="a \\"b\\".wav"; name=file\r\nContent-Type: audio/wav\r\n\r\n'
WHOLE = HEAD + FILE + b"\r\n--xy\r\n-- \r\n\x00\xff" + b"\r\n--x--\r\n"


def values(body, boundary=b"x"):
    return [(part.name, part.filename, bytes(body[part.start : part.end])) for part in read_parts(body, boundary)]


@pytest.mark.parametrize("kind", [bytes, bytearray])
@pytest.mark.parametrize("before", [b"", b"\r\n", b"preamble\r\n"])
def test_values_are_where_they_are(kind, before):
    # A longer word that begins like the boundary is a part of the file.
    file = b"\r\n--xy\r\n-- \r\n\x00\xff"
    assert values(kind(before + WHOLE)) == [("model", None, b"m"), ("file", 'a "b".wav', file)]


def test_empty_values_and_white_space_behind_a_boundary():
    body = b'--x \t\r\ncontent-disposition: form-data; name="a"\r\n\r\n\r\n--x--'
    assert values(body) == [("a", None, b"")]
    assert values(b"--x--") == []


@pytest.mark.parametrize("cut", range(len(WHOLE) - 4))
def test_a_form_that_is_cut_anywhere_is_refused(cut):
    with pytest.raises(BrokenForm):
        read_parts(WHOLE[:cut], b"x")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "not in the body"),
        (b"--other--\r\n", "not in the body"),
        (b"--xtra\r\n", "broken behind a boundary"),
        (b"--x\r\na: " + b"b" * 9000, "header of a part is not whole"),
        (b"--x\r\n\r\nvalue\r\n--x--", "has no name"),
        (b'--x\r\ncontent-disposition: attachment; name="a"\r\n\r\n1\r\n--x--', "has no name"),
        (HEAD * (MAX_PARTS + 1) + b"--x--", f"more than {MAX_PARTS} parts"),
        (HEAD, "last boundary is missing"),
    ],
)
def test_broken_forms_are_refused_with_a_reason(body, words):
    with pytest.raises(BrokenForm, match=words):
        read_parts(body, b"x")


@pytest.mark.parametrize(
    ("given", "boundary"),
    [
        (b"multipart/form-data; boundary=abc", b"abc"),
        (b'multipart/form-data; charset=utf-8; BOUNDARY="a b:c"', b"a b:c"),
        (b"multipart/form-data;boundary=----WebKitFormBoundary7MA4", b"----WebKitFormBoundary7MA4"),
    ],
)
def test_boundaries(given, boundary):
    assert boundary_of(given) == boundary
    assert boundary_of(form_type(boundary)) == boundary
    assert is_form(given)


@pytest.mark.parametrize(
    "given",
    [
        b"multipart/form-data",
        b"multipart/form-data; boundary=",
        b'multipart/form-data; boundary=""',
        b"multipart/form-data; boundary=" + b"a" * 71,
        b'multipart/form-data; boundary="a\x00b"',
        b'multipart/form-data; boundary="ends in space "',
    ],
)
def test_no_boundary(given):
    with pytest.raises(BrokenForm):
        boundary_of(given)


def test_other_types_are_no_forms():
    assert not is_form(None)
    assert not is_form(b"application/json")
    assert not is_form(b"multipart/mixed; boundary=x")
