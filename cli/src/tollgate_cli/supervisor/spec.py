"""What is to be run: one value per process."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Spec:
    """One process. `address` is where it says whether it is ready; empty: it is as soon as it runs.

    `last` processes are stopped when the others are gone. `bound` ones are ended by the system with the supervisor;
    the others watch its pipe.
    """

    name: str
    service: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)
    descriptors: tuple[int, ...] = ()
    address: str = ""
    last: bool = False
    bound: bool = False
    niceness: int = 0


@dataclass(frozen=True, slots=True)
class Options:
    """What the supervisor was asked for. `secrets` are the variables that hold keys of providers."""

    home: str
    config: tuple[str, ...]
    port: int
    workers: int
    ready_file: str
    logs: bool
    demo: bool
    as_json: bool
    simulator: bool
    secrets: tuple[str, ...]
