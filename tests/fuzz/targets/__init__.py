"""The readers of bytes from outside, a module for each; `tests.fuzz.named` names them."""
