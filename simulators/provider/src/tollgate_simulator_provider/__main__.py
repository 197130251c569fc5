"""`python -m tollgate_simulator_provider --port 8090 --ledger ledger.jsonl`."""

import sys

from tollgate_simulator_provider.server import run

if __name__ == "__main__":
    run(sys.argv[1:])
