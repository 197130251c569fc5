"""A month of usage recomputed by a second program, which shares no code with the product: only the standard library."""
