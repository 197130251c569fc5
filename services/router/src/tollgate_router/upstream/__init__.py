"""The HTTP/1.1 client towards model providers, on httptools and bare asyncio protocols.

A request on a reused connection costs no task, no future and no timer. Read `client.py`, then `pool.py`,
`connection.py` and `reply.py`; `connector.py` tells where connections come from.
"""
