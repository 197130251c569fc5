"""Stand-ins for what the router is handed: one module for each."""
