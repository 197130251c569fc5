#!/usr/bin/env bash
# Makes .venv and installs the lock and the members into it. Called by `make`; needs Python 3.11 or later and nothing else.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ ! -x .venv/bin/python ]; then
  python="$(bash tools/find_python.sh)"
  echo "[1/3] making .venv with $("$python" -c 'import platform, sys; print(platform.python_version(), "at", sys.executable)')"
  "$python" -m venv --without-pip .venv
fi
if ! .venv/bin/python -m uv --version >/dev/null 2>&1; then
  echo "[2/3] installing uv"
  # Debian's interpreter comes without pip; any other's installs into this one as well.
  if .venv/bin/python -m ensurepip --version >/dev/null 2>&1; then
    .venv/bin/python -m ensurepip >/dev/null
    pip=(.venv/bin/python -m pip)
  elif python3 -m pip --version >/dev/null 2>&1; then
    pip=(python3 -m pip --python .venv/bin/python)
  else
    rm -rf .venv
    echo "There is no pip to begin with. On Debian and Ubuntu: apt-get install python3-venv" >&2
    exit 1
  fi
  "${pip[@]}" install --quiet --disable-pip-version-check "uv>=0.13,<1"
fi
echo "[3/3] installing locked packages"
export VIRTUAL_ENV="$PWD/.venv" UV_LINK_MODE="${UV_LINK_MODE:-}"
[ -n "$UV_LINK_MODE" ] || unset UV_LINK_MODE
# uv brings a list of authorities of its own: where the machine has one, a proxy's authority may be on it, as pip knows.
for list in /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/cert.pem; do
  [ ! -e "$list" ] || export UV_SYSTEM_CERTS="${UV_SYSTEM_CERTS:-true}"
done
# Who watches sees the downloads.
[ -t 2 ] && quiet=() || quiet=(--quiet)
.venv/bin/python -m uv pip sync "${quiet[@]}" --require-hashes requirements.lock
members=()
for member in "$@"; do members+=(-e "$member"); done
.venv/bin/python -m uv pip install --quiet --no-deps --no-build-isolation "${members[@]}"
