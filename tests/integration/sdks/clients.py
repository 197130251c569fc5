"""The clients of the lock beside this file; see `asking`."""

from agent_clients import AGENTS
from asking import main
from chain_clients import CHAINS
from openai_clients import PACKAGES
from thinking_clients import THINKERS

if __name__ == "__main__":
    main({**PACKAGES, **CHAINS, **AGENTS, **THINKERS})
