"""A request of the Responses API where responses are stored.

What came before it is put in front of its input, and its reply is kept before the caller sees the end of it, so that
the next turn finds it.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Final

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_router.domain.dialects.responses_echo import response_in
from tollgate_router.domain.dialects.responses_reply import response_id
from tollgate_router.domain.openai_chat import ReplyUsage, read_body
from tollgate_router.domain.stored import StoredResponse, Wanted, going_on, input_items, unstored, wanted_of
from tollgate_router.domain.upstream_errors import UpstreamProblem
from tollgate_router.errors import InvalidBody, Refused, StoreUnavailable
from tollgate_router.exchange.long_body import NO_ROOM_FOR_BODY
from tollgate_router.exchange.request import Request
from tollgate_router.ports import ResponseStore

if TYPE_CHECKING:
    from tollgate_router.exchange.session import Session

log = logging.getLogger(__name__)

_DAY_US: Final = 86_400_000_000
# The longest conversation that is put together, in bytes.
_MOST_BYTES: Final = 32 * 1024 * 1024
# A body that is not counted; longer ones come to the router in several frames.
_SHORT_BYTES: Final = 64 * 1024
_ENDINGS: Final = (b"event: response.completed\ndata: ", b"event: response.incomplete\ndata: ")
_NOTHING_WANTED: Final = Wanted(store=False, previous_id="")
_NOT_FOUND: Final = "previous_response_id: no response of this project has this id, or it is not stored any more."
AWAY: Final = "Stored responses cannot be read now."


class RememberedRequest(Request):
    """`_task` is the step that waits for the store.

    `_afterwards` is what was to become of the request meanwhile, and becomes of a reply that did not leave at once.
    """

    __slots__ = ("_afterwards", "_items", "_last_event", "_store", "_task", "_wanted")
    remembers = True

    def __init__(self, session: "Session", opened: wire.Open, store: ResponseStore) -> None:
        super().__init__(session, opened)
        self._store = store
        self._wanted = _NOTHING_WANTED
        self._items = b""
        self._last_event = b""
        self._task: asyncio.Task[None] | None = None
        self._afterwards: Callable[[], None] | None = None

    @property
    def once(self) -> bool:
        """A response that is to be stored is made once."""
        return self._wanted.store or super().once

    @property
    def _is_storing(self) -> bool:
        """The reply is whole and on its way into the store: it ends within milliseconds, whatever else happens."""
        return self._wanted.store and self._task is not None and self._call is None and bool(self._number)

    # What came before.

    def _start(self) -> None:
        try:
            members = read_body(self._body)
            self._wanted = wanted_of(members)
            self._items = input_items(members, self._id)
        except InvalidBody:
            super()._start()
            return
        except Refused as refused:
            self._cannot_say(refused)
            return
        if self._wanted.previous_id:
            self._begin_step(self._recall())
        else:
            self._go_on([])

    @property
    def _id(self) -> str:
        return response_id(self._opened.request_id)

    async def _recall(self) -> None:
        deps, project = self._session.deps, self._opened.tenant.project_id
        try:
            turns = await self._store.chain(project, self._wanted.previous_id, deps.clock.now_us())
        except StoreUnavailable as error:
            log.warning("stored responses cannot be read", extra={"fields": {"error": str(error)}})
            if not self._ended:
                self._refuse(errors.ERROR_KIND_UNAVAILABLE, AWAY, 1000)
            return
        if not self._ended:
            self._session.guarded(self, self._go_on, turns)

    def _go_on(self, turns: list[StoredResponse]) -> None:
        try:
            self._body = self._joined(turns)
        except Refused as refused:
            self._cannot_say(refused)
            return
        self._opened.body_length = size = len(self._body)
        if size > _SHORT_BYTES and not self._hold_body(size):
            self._refuse(errors.ERROR_KIND_UNAVAILABLE, NO_ROOM_FOR_BODY, 1000)
            return
        super()._start()

    def _cannot_say(self, refused: Refused) -> None:
        """What is asked of the store is malformed, or is not there: nobody was asked."""
        self._refuse(errors.ERROR_KIND_INVALID_REQUEST, refused.message, param=refused.param)

    def _joined(self, turns: list[StoredResponse]) -> bytes:
        if self._wanted.previous_id and not turns:
            raise Refused(_NOT_FOUND, "previous_response_id")
        body = going_on(read_body(self._body), turns, self._items, self._wanted)
        if len(body) > _MOST_BYTES:
            raise Refused("previous_response_id: the conversation is too long.", "previous_response_id")
        return body

    # What comes after.

    def _send(self, data: bytes) -> None:
        """Holds back the event that ends a stream until the response is stored."""
        if self._wanted.store:
            data = self._without_end(data)
        if data:
            super()._send(data)

    def _without_end(self, data: bytes) -> bytes:
        place = max(data.rfind(ending) for ending in _ENDINGS)
        if place < 0:
            return data
        self._last_event = data[place:]
        return data[:place]

    def _deliver(self, usage: ReplyUsage, body: bytes) -> None:
        if not self._wanted.store:
            super()._deliver(usage, body)
            return
        self._begin_step(self._deliver_kept(usage, body))

    async def _deliver_kept(self, usage: ReplyUsage, body: bytes) -> None:
        kept = await self._kept(body)
        self._session.guarded(self, super()._deliver, usage, body if kept else unstored(body))
        if self._afterwards is not None:
            # Nobody takes more of a long one.
            self._session.guarded(self, self._afterwards)

    def _end(self, outcome: int, usage: ReplyUsage, problem: UpstreamProblem | None, data: bytes = b"") -> None:
        if self._last_event and not self._ended:
            event, self._last_event = self._last_event, b""
            self._begin_step(self._end_kept(event, outcome, usage, problem))
            return
        super()._end(outcome, usage, problem, data)

    async def _end_kept(self, event: bytes, outcome: int, usage: ReplyUsage, problem: UpstreamProblem | None) -> None:
        head, _, body = event.partition(b"data: ")
        if not await self._kept(response_in(body)):
            event = b"%bdata: %b\n\n" % (head, unstored(body))

        def end() -> None:
            super(RememberedRequest, self)._send(event)
            super(RememberedRequest, self)._end(outcome, usage, problem)

        self._session.guarded(self, end)

    async def _kept(self, response: bytes) -> bool:
        """Stores the response; returns whether that went well. The caller gets the reply either way: it is paid for."""
        try:
            await self._store.add(self._stored(response))
        except StoreUnavailable as error:
            log.warning("a response could not be stored", extra={"fields": {"error": str(error)}})
            return False
        return True

    def _stored(self, response: bytes) -> StoredResponse:
        deps = self._session.deps
        now, project = deps.clock.now_us(), self._opened.tenant.project_id
        expires = now + deps.settings.responses_retention_days * _DAY_US
        return StoredResponse(self._id, project, self._wanted.previous_id, now, expires, self._items, response)

    def _begin_step(self, step: Coroutine[None, None, None]) -> None:
        self._task = asyncio.create_task(step)
        self._task.add_done_callback(self._end_step)

    def _end_step(self, task: "asyncio.Task[None]") -> None:
        """Whatever fails in a step ends this request and nothing else."""
        if self._task is task:
            # Else it has begun another.
            self._task = None
        if not task.cancelled():
            self._session.guarded(self, task.result)

    # What cannot stop a reply that is whole.

    def cancel(self, reason: int = 0) -> None:
        """The caller is gone; what it gets stored is stored."""
        if self._is_storing:
            self._afterwards = partial(super().cancel, reason)
        else:
            super().cancel(reason)

    def out_of_time(self) -> None:
        """The process stops."""
        if self._is_storing:
            self._afterwards = self._afterwards or super().out_of_time
        else:
            super().out_of_time()
