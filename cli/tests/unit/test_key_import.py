"""What lines of a file of keys mean; of a key in the clear, nothing but its hash is sent."""

import hashlib
import json

import pytest

from tollgate_cli.commands.key_import import read_lines

pytestmark = pytest.mark.unit

KEY = "sk-1234567890abcdef"
SHA256 = hashlib.sha256(KEY.encode()).hexdigest()


def test_csv_with_lists_and_limits():
    text = (
        "\ufeffkey,sha256,name,models,requests_per_minute\r\n"
        f"{KEY},,shop,gpt-5-mini; gpt-5.1,60\r\n"
        f',{SHA256},"two\r\nlines",,\r\n'
    ).lstrip("\ufeff")
    found = read_lines(text)
    assert found.problems == []
    assert found.keys == [
        (
            2,
            {
                "sha256": SHA256,
                "last_four": "cdef",
                "name": "shop",
                "models": ["gpt-5-mini", "gpt-5.1"],
                "limits": {"requests_per_minute": 60},
            },
        ),
        (4, {"sha256": SHA256, "name": "twolines"}),
    ]
    assert KEY not in json.dumps(found.keys)


def test_json_lines_with_empty_ones_between():
    found = read_lines(f'\n{{"key": "{KEY}"}}\n\n{{"sha256": "{SHA256}", "limits": {{"concurrency": 2}}}}\n')
    assert found.problems == []
    assert found.keys == [
        (2, {"sha256": SHA256, "last_four": "cdef"}),
        (4, {"sha256": SHA256, "limits": {"concurrency": 2}}),
    ]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('{"key": "short"}', "16 to 512"),
        ('{"key": "sk-with a blank in it"}', "16 to 512"),
        ('{"key": 7}', "16 to 512"),
        ('{"name": "nothing else"}', "'key' or 'sha256'"),
        (f'{{"key": "{KEY}", "sha256": "{SHA256}"}}', "not both"),
        (f'{{"key": "{KEY}", "colour": "red"}}', "'colour'"),
        (f'{{"key": "{KEY}", "limits": {{}}, "concurrency": 1}}', "not both"),
        ("[1]", "no JSON object"),
        ('{"key": ', "no JSON object"),
    ],
)
def test_a_bad_line_is_named_and_the_others_are_read(line, expected):
    found = read_lines(f'{{"sha256": "{SHA256}"}}\n{line}\n{{"sha256": "{SHA256}"}}\n')
    assert [number for number, _ in found.keys] == [1, 3]
    ((number, problem),) = found.problems
    assert (number, expected in problem) == (2, True), problem


def test_a_row_with_other_columns_is_bad():
    found = read_lines(f"key,name\n{KEY},a,b\n{KEY}\n{KEY},c\n")
    assert [line for line, _ in found.problems] == [2, 3]
    assert [line for line, _ in found.keys] == [4]
