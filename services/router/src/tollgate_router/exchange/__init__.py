"""The inference hot path of the router. Flatter than the rest on purpose.

`session.py` (one Exchange stream) → `request.py` (one request: choice, attempts, reply) → `upstream/` → back through
`request.py` to `outbox.py`; `recorder.py` rates each attempt and appends its usage event to the spool.
"""
