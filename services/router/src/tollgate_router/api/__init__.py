"""Inbound calls besides Exchange."""
