"""A month of usage recomputed by a second program, which shares no code with the product.

`month` makes raw facts, `prices` reads price books and rates, `books` adds up; `driver` has the product say the facts.
"""
