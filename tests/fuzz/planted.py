"""Targets with a fault that is known, by which the fuzzers themselves are tested."""

from random import Random

from tests.fuzz.cases import Case, draw_cuts, spoil


class Planted:
    """Fails at any "x" behind an "(", however far."""

    cost = 1

    def draw(self, source: Random) -> Case:
        data = spoil(source, source.randbytes(40), [b"(", b"x", b")"])
        return {"data": data, "cuts": draw_cuts(source, len(data)), "more": [source.randint(0, 9)]}

    def check(self, case: Case) -> None:
        before, _, after = case["data"].partition(b"(")
        if b"x" in after:
            raise KeyError(before)

    def close(self) -> None:
        pass


class Standing(Planted):
    def check(self, case: Case) -> None:
        pass


class Deep(Standing):
    """Fails at one value of three bytes; it looks at a byte only where the last one was right."""

    def draw(self, source: Random) -> Case:
        return {"data": source.randbytes(3)}

    def check(self, case: Case) -> None:
        data: bytes = case["data"]
        for one, wanted in zip(data, b"dip", strict=True):
            if one != wanted:
                return
        raise ValueError("found by what it reaches")
