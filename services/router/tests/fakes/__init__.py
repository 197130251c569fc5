"""Stand-ins for what the router's rules are fed with."""
