"""Usage times price book gives money: pure, integer, total."""
