"""Revisions of the ledger's schema (`versions`) and of the usage store's (`usage`)."""
