"""`python -m tollgate_simulator_notify --http-port 8095 --smtp-port 8025`."""

import sys

from tollgate_simulator_notify.server import run

if __name__ == "__main__":
    run(sys.argv[1:])
