"""Usage store, ledger and wallets, fed by the event log."""
