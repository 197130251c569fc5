"""The inference hot path. Flatter than the rest on purpose: a request crosses as few calls as it can.

`door.py` (HTTP) → `exchange.py` (one request) → `admission.py` (money) → `link.py` (the stream to a router) → back.
No asyncio task, queue or future is made for a request; callbacks carry it from one step to the next.
"""
