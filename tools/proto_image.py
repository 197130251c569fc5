"""The descriptor image of proto/; `make proto-baseline` writes the one against which changes are checked."""

import sys
import tempfile
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from grpc_tools import protoc

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


def main() -> int:
    """Writes the baseline; returns the exit code."""
    BASELINE.write_bytes(build().SerializeToString(deterministic=True))
    return 0


if __name__ == "__main__":
    sys.exit(main())
