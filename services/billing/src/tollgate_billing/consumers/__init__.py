"""What billing reads from the event log, one module per topic."""
