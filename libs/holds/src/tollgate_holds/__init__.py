"""Holds and wallets in Redis: scripts, states and a small pipelined client."""
