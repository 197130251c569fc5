"""Lines of the processes: whole ones, rotated, coloured."""

import io

import pytest

from tollgate_cli.supervisor import journal as journals
from tollgate_cli.supervisor.watch import favourite
from tollgate_cli.supervisor.words import command_for, welcome

pytestmark = pytest.mark.unit


def test_lines_are_joined_and_labelled(tmp_path):
    screen = io.StringIO()
    journal = journals.Journal(tmp_path, ["edge-0", "billing"], screen, colour=False)
    journal.write("edge-0", b"12:00:01.123 edge       warn  slow")
    journal.write("billing", b"plain\n")
    journal.write("edge-0", b" one=1\nrest")
    journal.end("edge-0")
    journal.close()
    assert screen.getvalue().splitlines() == [
        "             billing       plain",
        "12:00:01.123 edge-0  warn  slow one=1",
        "             edge-0        rest",
    ]
    assert journal.tail("edge-0") == ["12:00:01.123 edge       warn  slow one=1", "rest"]
    assert (tmp_path / "edge-0.log").read_bytes() == b"12:00:01.123 edge       warn  slow one=1\nrest\n"


def test_colours_only_on_a_terminal(tmp_path):
    screen = io.StringIO()
    journal = journals.Journal(tmp_path, ["edge"], screen, colour=True)
    journal.write("edge", b"12:00:01.123 edge       error bad\n")
    journal.close()
    assert "\x1b[31mbad\x1b[0m" in screen.getvalue()


def test_files_are_rotated_and_bounded(tmp_path):
    journal = journals.Journal(tmp_path, ["edge"], None, colour=False)
    block = b"x" * (journals.LARGEST_FILE_BYTES // 4 - 1) + b"\n"
    for _ in range(20):
        journal.write("edge", block)
    journal.close()
    files = sorted(file.name for file in tmp_path.iterdir())
    assert files == ["edge.log", "edge.log.1", "edge.log.2"]
    assert all(file.stat().st_size <= journals.LARGEST_FILE_BYTES for file in tmp_path.iterdir())


def test_favourite_model():
    assert favourite(["a-embedding", "zeta", "gpt-5-mini"]) == "gpt-5-mini"
    assert favourite(["text-embedding", "gpt-image-2", "mine"]) == "mine"
    assert favourite(["text-embedding"]) == "text-embedding"


def test_welcome_has_a_command_that_can_be_pasted():
    import json
    import shlex

    document = {"base_url": "http://127.0.0.1:1/v1", "api_key": "sk-tg-it's", "console_url": "http://127.0.0.1:1/"}
    text = welcome(document, "m", "tollgate {}".format, simulated=True)
    line = next(line for line in text.splitlines() if line.strip().startswith("curl"))
    words = shlex.split(line)
    assert "Authorization: Bearer sk-tg-it's" in words
    assert json.loads(words[words.index("-d") + 1])["stream"] is True
    assert "simulated" in text
    assert "`tollgate doctor`" in text
    assert "simulated" not in welcome({**document, "api_key": None}, "m", "tollgate {}".format, simulated=False)


def test_the_commands_that_are_named_can_be_pasted(tmp_path):
    beside = tmp_path / "checkout" / ".venv" / "bin"
    beside.mkdir(parents=True)
    python, default = str(beside / "python"), tmp_path / "checkout" / ".tollgate"
    assert command_for(default, default, python, "", tmp_path)("usage") == "tollgate usage"
    program = beside / "tollgate"
    program.touch(mode=0o755)
    checkout = tmp_path / "checkout"
    assert command_for(default, default, python, "/usr/bin", checkout)("usage") == ".venv/bin/tollgate usage"
    assert command_for(default, default, python, "/usr/bin", beside / "x")("usage") == f"{program} usage"
    assert command_for(default, default, python, f"/usr/bin:{beside}", checkout)("usage") == "tollgate usage"
    other = tmp_path / "a home"
    assert command_for(other, default, python, str(beside), checkout)("down") == f"tollgate down --home '{other}'"
