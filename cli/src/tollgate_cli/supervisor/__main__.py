"""`python -m tollgate_cli.supervisor '{…}'`: what `tollgate up` turns into when its options are checked."""

import sys

from tollgate_cli.supervisor.start import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
