#!/usr/bin/env bash
# Prints the interpreter to build .venv from: the one named in PYTHON, else python3, else the system's own.
#
# An interpreter that was built without profile-guided optimization takes 13 % more processor time a request
# (docs/reference/benchmarks.md), and those that pyenv and the like compile are. Distributions optimize theirs, which
# nothing in it says, so the system's is taken instead of a python3 that does not say that it was optimized.
set -euo pipefail
system="${1:-/usr/bin/python3}"

usable() {
  "$1" -c 'import sqlite3, ssl, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

optimized() {
  "$1" -c 'import sys, sysconfig; sys.exit("--enable-optimizations" not in (sysconfig.get_config_var("CONFIG_ARGS") or ""))' 2>/dev/null
}

if [ -n "${PYTHON:-}" ]; then
  found="$PYTHON"
elif usable python3 && optimized python3; then
  found=python3
elif usable "$system"; then
  found="$system"
else
  found=python3
fi
if ! usable "$found"; then
  echo "tollgate needs Python 3.11 or later, with venv, ssl and sqlite3; '$found' is not. Name one: make up PYTHON=/path/to/python3.11" >&2
  exit 1
fi
echo "$found"
