"""A stand-in for an OpenAI-compatible provider, with a ledger of its own."""
