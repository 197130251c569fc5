"""A token server that gives what it is told to, when it is told to."""

import asyncio

from tollgate_router.domain.target import Target
from tollgate_router.domain.tokens import Token


class FakeTokenServer:
    """`answers` are taken in turn and waited for; `asked` is what came."""

    def __init__(self) -> None:
        self.hidden = ""
        self.asked: list[tuple[Target, bytes]] = []
        self.answers: asyncio.Queue[Token | str] = asyncio.Queue()

    async def fetch(self, target: Target, form: bytes, hidden: str = "") -> Token | str:
        self.hidden = hidden
        self.asked.append((target, form))
        return await self.answers.get()
