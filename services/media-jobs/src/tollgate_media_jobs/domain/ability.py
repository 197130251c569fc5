"""What a model can be asked for, and the check of a request against it: nothing is dropped or clamped silently."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from tollgate_media_jobs.domain.job import ImageRequest
from tollgate_media_jobs.errors import Invalid

AUTO: Final = "auto"
_SIZE: Final = re.compile(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})")
_USER_CHARACTERS: Final = 256


@dataclass(frozen=True, slots=True)
class FreeSizes:
    """Sides in pixels; `aspect` is the most that one side may be longer than the other."""

    multiple_of: int
    shortest: int
    longest: int
    aspect: int

    def allows(self, width: int, height: int) -> bool:
        """Tells whether a picture of this size can be asked for."""
        short, long = min(width, height), max(width, height)
        return (
            self.shortest <= short
            and long <= self.longest
            and long <= short * self.aspect
            and not width % self.multiple_of
            and not height % self.multiple_of
        )

    def __str__(self) -> str:
        step = f", divisible by {self.multiple_of}" if self.multiple_of > 1 else ""
        return (
            f"WIDTHxHEIGHT with sides from {self.shortest} to {self.longest}{step} and no side more than "
            f"{self.aspect} times the other"
        )


@dataclass(frozen=True, slots=True)
class Ability:
    """What models whose name begins with `match` accept. `output_tokens` is the most that one picture takes."""

    match: str
    prompt_characters: int
    count: int
    sizes: tuple[str, ...] | FreeSizes
    qualities: tuple[str, ...]
    formats: tuple[str, ...]
    output_tokens: int

    def check(self, image: ImageRequest) -> None:
        """Raises Invalid for the first parameter that the model does not accept."""
        if not image.prompt.strip() and not image.variation:
            raise Invalid("prompt", "The prompt is empty; it must say what to draw.")
        if len(image.prompt) > self.prompt_characters:
            raise Invalid(
                "prompt",
                f"The prompt has {len(image.prompt)} characters; at most {self.prompt_characters} are allowed.",
            )
        if not 1 <= image.count <= self.count:
            raise Invalid("n", f"n is {image.count}; this model allows {_range(self.count)}.")
        self._check_size(image.size)
        _one_of("quality", image.quality, (*self.qualities, AUTO))
        _one_of("output_format", image.output_format, self.formats)
        if len(image.user) > _USER_CHARACTERS:
            raise Invalid("user", f"user has {len(image.user)} characters; at most {_USER_CHARACTERS} are allowed.")

    def _check_size(self, size: str) -> None:
        if size in {"", AUTO}:
            return
        if not isinstance(self.sizes, FreeSizes):
            _one_of("size", size, (*self.sizes, AUTO))
            return
        found = _SIZE.fullmatch(size)
        if found is None or not self.sizes.allows(int(found[1]), int(found[2])):
            raise Invalid("size", f"size is {_shown(size)}; allowed: {AUTO}, or {self.sizes}.")

    def priced_sizes(self, size: str) -> Sequence[str]:
        """Returns the sizes that a request for `size` may turn out to have; "" is any."""
        if size not in {"", AUTO}:
            return (size,)
        return ("", *(() if isinstance(self.sizes, FreeSizes) else self.sizes))

    def priced_qualities(self, quality: str) -> Sequence[str]:
        """Returns the qualities that a request for `quality` may turn out to have; "" is any."""
        return (quality,) if quality not in {"", AUTO} else ("", *self.qualities)


class Abilities:
    """Finds what a model accepts by its public name."""

    def __init__(self, known: Iterable[Ability]) -> None:
        self._known = sorted(known, key=lambda ability: len(ability.match), reverse=True)

    def of(self, model: str) -> Ability:
        """Returns the ability with the longest match."""
        return next(ability for ability in self._known if model.startswith(ability.match))


def _one_of(param: str, value: str, allowed: Sequence[str]) -> None:
    if value and value not in allowed:
        raise Invalid(param, f"{param} is {_shown(value)}; allowed: {', '.join(allowed)}.")


def _range(most: int) -> str:
    return "only 1" if most == 1 else f"1 to {most}"


def _shown(value: str) -> str:
    return repr(value if len(value) <= 40 else value[:40] + "…")
