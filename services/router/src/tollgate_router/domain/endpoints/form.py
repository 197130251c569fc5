"""A form with a file, as it came: only the model's name is another one towards a provider."""

from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_kit.multipart import BrokenForm, boundary_of, form_type, read_parts
from tollgate_router.errors import InvalidBody


class Form:
    """A whole form. `body` is kept and must not change; nothing of it is copied. Raises InvalidBody."""

    def __init__(self, body: bytes | bytearray, content_type: bytes) -> None:
        try:
            boundary = boundary_of(content_type)
            self._parts = read_parts(body, boundary)
        except BrokenForm as error:
            raise InvalidBody(str(error)) from error
        self._body = body
        self.content_type = form_type(boundary)
        """The Content-Type to send it with."""

    def text(self, name: str) -> str:
        """Returns the first plain field of this name; empty where there is none."""
        for part in self._parts:
            if part.name == name and part.filename is None:
                return bytes(memoryview(self._body)[part.start : part.end]).decode("utf-8", "replace")
        return ""

    def file(self) -> memoryview:
        """Returns the file; empty where there is none."""
        for part in self._parts:
            if part.name == "file":
                return memoryview(self._body)[part.start : part.end]
        return memoryview(b"")

    def written(self, upstream_model: str) -> tuple[bytes | memoryview, ...]:
        """Returns the body for a provider, in parts that are views of what came."""
        whole = memoryview(self._body)
        for part in self._parts:
            if part.name == "model":
                return whole[: part.start], upstream_model.encode(), whole[part.end :]
        return (whole,)


def form_of(opened: wire.Open, body: bytes | bytearray) -> Form:
    """Returns the form that a request brought; edge sends its type along. Raises InvalidBody."""
    found = next((header.value for header in opened.headers if header.name == b"content-type"), b"")
    return Form(body, found)
