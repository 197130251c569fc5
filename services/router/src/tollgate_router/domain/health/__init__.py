"""What the router knows of its channels' health, kept across configuration versions.

`breaker.py` one upstream model of one channel · `budget.py` how many extra attempts a channel may cause ·
`seat.py` what a choice reads: one credential of one channel, asked for one model · `registry.py` all of it by name.

Time is seconds of a monotonic clock, handed in; nothing here sleeps or does I/O.
"""
