"""Stand-ins for what billing needs, one file per port; each passes the suite of the real adapter."""
