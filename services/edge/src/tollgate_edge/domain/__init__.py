"""Pure values and rules of edge; standard library only."""
