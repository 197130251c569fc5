"""Fakes of the ports of tollgate_kit."""
