"""How likely the pieces of a simulated answer were: made up, and the same for the same piece. No I/O."""


def chosen(piece: str) -> float:
    """Returns the natural logarithm of how likely a piece was."""
    return -(len(piece) % 5) / 8


def likeliest(piece: str, count: int) -> list[tuple[str, float]]:
    """Returns so many pieces with their logarithms, the likeliest first, which is the one that was said."""
    return [(piece if not place else f"other {place}", chosen(piece) - place) for place in range(count)]
