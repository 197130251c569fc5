"""Generates libs/contracts from proto/. Run by `make proto`; `--check` fails when what is committed is not current."""

import filecmp
import shutil
import sys
import tempfile
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
PROTO = ROOT / "proto"
CONTRACTS = ROOT / "libs" / "contracts" / "src"


def generate(target: Path) -> None:
    """Writes the stubs of every file under proto/ below `target`. Raises RuntimeError when protoc refuses a file."""
    files = sorted(str(path.relative_to(PROTO)) for path in PROTO.rglob("*.proto"))
    include = Path(protoc.__file__).parent / "_proto"
    arguments = ["protoc", f"-I{PROTO}", f"-I{include}", f"--python_out={target}", f"--pyi_out={target}"]
    services = [name for name in files if "\nservice " in (PROTO / name).read_text(encoding="utf-8")]
    if protoc.main([*arguments, *files]) or protoc.main([*arguments[:3], f"--grpc_python_out={target}", *services]):
        msg = "protoc refused a file; its message is above"
        raise RuntimeError(msg)


def stubs(folder: Path) -> dict[str, Path]:
    """Returns the generated files below `folder` by their relative path."""
    return {
        str(path.relative_to(folder)): path for path in folder.rglob("*_pb2*.py*") if "__pycache__" not in str(path)
    }


def stale(contracts: Path = CONTRACTS) -> list[str]:
    """Returns the relative paths of stubs that are missing, surplus or differ from what proto/ generates now."""
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder))
        fresh, committed = stubs(Path(folder)), stubs(contracts)
        return sorted(
            name
            for name in fresh.keys() | committed.keys()
            if name not in fresh
            or name not in committed
            or not filecmp.cmp(fresh[name], committed[name], shallow=False)
        )


def main() -> int:
    """Generates, or checks with `--check`; returns the exit code."""
    if "--check" in sys.argv:
        names = stale()
        for name in names:
            sys.stderr.write(f"libs/contracts/src/{name} is not what proto/ generates; run `make proto`\n")
        return 1 if names else 0
    for path in stubs(CONTRACTS).values():
        path.unlink()
    generate(CONTRACTS)
    shutil.rmtree(CONTRACTS / "__pycache__", ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
