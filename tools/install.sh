#!/usr/bin/env bash
# Makes .venv and installs the lock and the members into it. Called by `make`; needs Python 3.11 or later and nothing else.
set -euo pipefail
cd "$(dirname "$0")/.."
python="${PYTHON:-python3}"
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
  echo "tollgate needs Python 3.11 or later; '$python' is not. Name one: make up PYTHON=/path/to/python3.11" >&2
  exit 1
fi
if [ ! -x .venv/bin/python ]; then
  echo "[1/3] making .venv"
  if ! "$python" -m venv .venv; then
    rm -rf .venv
    echo "Python's venv module is missing. On Debian and Ubuntu: apt-get install python3-venv" >&2
    exit 1
  fi
fi
if ! .venv/bin/python -m uv --version >/dev/null 2>&1; then
  echo "[2/3] installing uv"
  .venv/bin/python -m pip install --quiet --disable-pip-version-check "uv>=0.13,<1"
fi
echo "[3/3] installing locked packages"
export VIRTUAL_ENV="$PWD/.venv" UV_LINK_MODE="${UV_LINK_MODE:-}"
[ -n "$UV_LINK_MODE" ] || unset UV_LINK_MODE
.venv/bin/python -m uv pip sync --quiet --require-hashes requirements.lock
members=()
for member in "$@"; do members+=(-e "$member"); done
.venv/bin/python -m uv pip install --quiet --no-deps --no-build-isolation "${members[@]}"
