"""The usage store, the ledger, wallets, prices and dead letters as billing's ports ask for them."""
