"""The descriptor image of proto/. `make proto` takes what is new into the committed one, which no change may break."""

import sys
import tempfile
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from grpc_tools import protoc

from tools.proto_breaking import breaking

ROOT = Path(__file__).resolve().parent.parent
PROTO = ROOT / "proto"
BASELINE = PROTO / "baseline.binpb"


def build(proto: Path = PROTO) -> FileDescriptorSet:
    """Returns the descriptors of every file below `proto`. Raises RuntimeError when protoc refuses one."""
    files = sorted(str(path.relative_to(proto)) for path in proto.rglob("*.proto"))
    include = Path(protoc.__file__).parent / "_proto"
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "image.binpb"
        if protoc.main(["protoc", f"-I{proto}", f"-I{include}", f"--descriptor_set_out={image}", *files]):
            msg = "protoc refused a file; its message is above"
            raise RuntimeError(msg)
        return FileDescriptorSet.FromString(image.read_bytes())


def refresh(baseline: Path = BASELINE, proto: Path = PROTO) -> list[str]:
    """Takes what is new into the baseline. Where something would break, says what and writes nothing."""
    image = build(proto)
    broken = list(breaking(FileDescriptorSet.FromString(baseline.read_bytes()), image))
    if not broken:
        baseline.write_bytes(image.SerializeToString(deterministic=True))
    return broken


def main() -> int:
    """Refreshes the baseline; returns the exit code."""
    broken = refresh()
    for sentence in broken:
        sys.stderr.write(f"{sentence}\n")
    if broken:
        sys.stderr.write("Contracts only grow: add a field or a package of a new version instead.\n")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
