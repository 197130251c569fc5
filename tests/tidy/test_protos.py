"""proto/ keeps its rules, breaks nothing that was released, and its stubs are current; each check can fail."""

import shutil
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from tests.tidy.rules.protos import lint
from tools.gen_proto import CONTRACTS, stale
from tools.proto_breaking import breaking
from tools.proto_image import BASELINE, PROTO, build, refresh

pytestmark = pytest.mark.tidy

SOURCE = """syntax = "proto3";
package tollgate.sample.v1;
service SampleService { rpc GetThing(GetThingRequest) returns (GetThingResponse); }
enum Colour { COLOUR_UNSPECIFIED = 0; COLOUR_RED = 1; }
message GetThingRequest { string id = 1; reserved 2; reserved "old"; }
message GetThingResponse {
  int64 size_bytes = 1; Colour colour = 2;
  message Part { uint32 index = 1; } repeated Part parts = 3;
}
"""


def image(folder: Path, source: str = SOURCE, name: str = "tollgate/sample/v1/sample.proto") -> FileDescriptorSet:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source)
    return build(folder)


def test_the_tree_keeps_the_rules():
    assert list(lint(build())) == []


def test_the_sample_keeps_the_rules(tmp_path):
    assert list(lint(image(tmp_path))) == []


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("package tollgate.sample.v1", "package tollgate.other.v1", "is not its folder"),
        ("SampleService", "Sample", "does not end with Service"),
        ("rpc GetThing(GetThingRequest)", "rpc GetThing(GetThingResponse)", "not GetThingRequest"),
        ("returns (GetThingResponse)", "returns (GetThingRequest)", "not GetThingResponse"),
        ("rpc GetThing(", "rpc get_thing(", "is not a verb"),
        ("COLOUR_UNSPECIFIED", "COLOUR_NONE", "does not begin with COLOUR_UNSPECIFIED = 0"),
        ("COLOUR_RED", "RED", "enum value RED"),
        ("size_bytes", "sizeBytes", "is not in snake_case"),
        ("Part", "part", "is not in CamelCase"),
    ],
)
def test_the_lint_finds_what_is_planted(old, new, expected, tmp_path):
    found = list(lint(image(tmp_path, SOURCE.replace(old, new))))
    assert any(expected in sentence for sentence in found), found


def test_a_package_has_a_version(tmp_path):
    source = SOURCE.replace("tollgate.sample.v1", "tollgate.sample")
    assert any("v<number>" in sentence for sentence in lint(image(tmp_path, source, "tollgate/sample/a.proto")))


def test_nothing_that_was_released_is_broken():
    assert list(breaking(FileDescriptorSet.FromString(BASELINE.read_bytes()), build())) == []


def test_the_baseline_knows_everything():
    """What it does not know could be taken away unnoticed; `make proto` takes it in."""
    assert FileDescriptorSet.FromString(BASELINE.read_bytes()) == build()


def test_the_baseline_takes_in_what_is_new_and_nothing_that_breaks(tmp_path):
    baseline = tmp_path / "baseline.binpb"
    baseline.write_bytes(image(tmp_path / "old").SerializeToString())
    more = SOURCE.replace("string id = 1;", "string id = 1; string more = 7;")
    image(tmp_path / "new", more)
    assert refresh(baseline, tmp_path / "new") == []
    assert FileDescriptorSet.FromString(baseline.read_bytes()) == build(tmp_path / "new")
    before = baseline.read_bytes()
    image(tmp_path / "less")
    assert refresh(baseline, tmp_path / "less") == [
        "field tollgate.sample.v1.GetThingRequest.more = 7 is gone; reserve its number and name"
    ]
    assert baseline.read_bytes() == before


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("string id = 1; ", "", "id = 1 is gone"),
        ("string id = 1;", "string id = 3;", "id = 1 is gone"),
        ("string id = 1;", "string name = 1;", "is called name now"),
        ("string id = 1;", "bytes id = 1;", "has another type"),
        ("string id = 1;", "repeated string id = 1;", "has another type"),
        ("string id = 1;", "optional string id = 1;", "has another type"),
        ("reserved 2;", "string again = 2;", "takes the reserved number 2"),
        ("COLOUR_RED = 1;", "", "COLOUR_RED = 1 is gone"),
        ("COLOUR_RED = 1;", "COLOUR_BLUE = 1;", "COLOUR_RED = 1 is gone"),
        ("uint32 index = 1;", "uint64 index = 1;", "Part.index = 1 has another type"),
        (
            "rpc GetThing(GetThingRequest) returns (GetThingResponse);",
            "",
            "rpc tollgate.sample.v1.SampleService.GetThing is gone",
        ),
        ("returns (GetThingResponse)", "returns (stream GetThingResponse)", "takes or returns something else"),
        ("message Part { uint32 index = 1; } repeated Part parts = 3;", "", "Part is gone"),
        ("enum Colour", "enum Paint", "enum tollgate.sample.v1.Colour is gone"),
    ],
)
def test_the_breaking_check_finds_what_is_planted(old, new, expected, tmp_path):
    changed = SOURCE.replace(old, new)
    if "Paint" in changed:
        changed = changed.replace("Colour colour", "Paint colour")
    assert changed != SOURCE
    found = list(breaking(image(tmp_path / "old"), image(tmp_path / "new", changed)))
    assert any(expected in sentence for sentence in found), found


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("string id = 1;", "string id = 1; string more = 7;"),
        ("COLOUR_RED = 1;", "COLOUR_RED = 1; COLOUR_GREEN = 2;"),
        ("int64 size_bytes = 1; ", 'reserved 1; reserved "size_bytes"; '),
        ("service SampleService {", "message ListThingsRequest {} service SampleService {"),
    ],
)
def test_additions_break_nothing(old, new, tmp_path):
    assert list(breaking(image(tmp_path / "old"), image(tmp_path / "new", SOURCE.replace(old, new)))) == []


def test_stubs_are_current():
    assert PROTO.is_dir()
    assert stale() == []


def test_stubs_that_are_not_current_are_found(tmp_path):
    copy = tmp_path / "src"
    shutil.copytree(CONTRACTS, copy, ignore=shutil.ignore_patterns("__pycache__"))
    assert stale(copy) == []
    changed = copy / "tollgate/errors/v1/errors_pb2.py"
    changed.write_text(changed.read_text() + "# edited\n")
    (copy / "tollgate/media/v1/media_pb2.pyi").unlink()
    (copy / "tollgate/media/v1/surplus_pb2.py").write_text("")
    assert stale(copy) == [
        "tollgate/errors/v1/errors_pb2.py",
        "tollgate/media/v1/media_pb2.pyi",
        "tollgate/media/v1/surplus_pb2.py",
    ]
