"""How many tokens a prompt has about: words by their size, and a file for what a picture costs."""

import base64
import json

import pytest

from tollgate_rating import embedded_files, prompt_tokens

pytestmark = pytest.mark.unit

FILE = base64.b64encode(bytes(range(256)) * 400).decode().rstrip("=")
BOTH = "\r\n".join(FILE[at : at + 76] for at in range(0, len(FILE), 76))
FEEDS = "\n".join(FILE[at : at + 64] for at in range(0, len(FILE), 64))
URL = ";base64,"
PROMPTS = {
    "words": ("four " * 10_000, []),
    "another script": ("你好，世界" * 5_000, []),
    "words in lines": ("one\ntwo\n" * 9_000, []),
    "quoted words": ('"a" ' * 10_000, []),
    "letters after words": ("words " + "a" * 20_000, []),
    "letters": ("0123456789abcdef" * 1_000, ['"' + "0123456789abcdef" * 1_000]),
    "words after letters": ("a" * 1_024 + " words" * 5_000, ['"' + "a" * 1_024]),
    "base64": (FILE + "==", ['"' + FILE]),
    "a data URL": (f"data:image/png;base64,{FILE}==", [URL + FILE]),
    "a data URL within words": (f"Here: ![a](data:image/png;base64,{FILE}) it is.", [URL + FILE]),
    "what a tool said": (json.dumps({"image": FILE}), ['"' + FILE]),
    "in lines": (BOTH, ['"' + BOTH]),
    "in short lines": (FEEDS, ['"' + FEEDS]),
    "nearly a file": ("a" * 1_022, []),
    "just a file": ("a" * 1_023, ['"' + "a" * 1_023]),
    "nearly a data URL": (f"data:image/png;base64,{'a' * 1_015}", []),
    "just a data URL": (f"data:image/png;base64,{'a' * 1_016}", [URL + "a" * 1_016]),
}


@pytest.mark.parametrize("slash", [b"/", b"\\/"], ids=["plain", "escaped"])
@pytest.mark.parametrize(("prompt", "files"), PROMPTS.values(), ids=PROMPTS.keys())
def test_files_are_found_up_to_their_ends(prompt, files, slash):
    body = json.dumps([{"content": prompt}, {"content": prompt}]).encode().replace(b"/", slash)
    found = [file.replace("\r", "\\r").replace("\n", "\\n").encode().replace(b"/", slash) for file in files]
    assert embedded_files(memoryview(body)) == [len(file) for file in found for _ in range(2)]


@pytest.mark.parametrize(
    ("length", "files", "tokens"),
    [(0, [], 1), (4_000, [], 1_001), (400_000, [390_000], 4_101), (8_000, [6_400], 2_001), (8_000, [6_404], 2_000)],
)
def test_a_file_counts_as_a_picture_where_its_size_would_be_more(length, files, tokens):
    assert prompt_tokens(length, files) == tokens
