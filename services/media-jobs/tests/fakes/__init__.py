"""One stand-in per port of media-jobs, each of which passes the suite of the real adapter."""
