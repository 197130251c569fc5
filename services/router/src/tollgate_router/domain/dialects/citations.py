"""Sources of what an answer says: read from each dialect's own form of them, and written in it.

chat        `annotations` of a message, by places in its letters; Perplexity's `search_results` and `citations`, by none
Responses   `annotations` of a part of a message, by places in the part's letters
Messages    `citations` of a block of text, which stand for all of the block
Gemini      `groundingMetadata`, and `citationMetadata`, by places in the bytes of the text
"""

from collections.abc import Iterable, Sequence
from io import StringIO
from typing import Any, Final

import msgspec

from tollgate_router.domain.dialects.neutral import Citation, Reply, Text

_MOST_SOURCES: Final = 1000
_BROKEN: Final = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)


def text_of(found: object, name: str) -> str:
    """Returns a member that is a text; nothing where it is none, or what holds it is no object."""
    value = found.get(name) if isinstance(found, dict) else None
    return value if isinstance(value, str) else ""


def _place(found: object, name: str) -> int:
    value = found.get(name) if isinstance(found, dict) else None
    return value if type(value) is int and value >= 0 else -1


def _list(found: object) -> list[Any]:
    return found[:_MOST_SOURCES] if isinstance(found, list) else []


# Chat and Responses.


def of_annotations(found: object, before: int = 0) -> Iterable[Citation]:
    """Yields what annotations say, of a message or a part; `before` is how many letters stand before it."""
    for note in _list(found):
        kind = text_of(note, "type")
        inner = note.get(kind, note) if kind else None
        if kind == "url_citation" and (url := text_of(inner, "url")):
            begin, end = _place(inner, "start_index"), _place(inner, "end_index")
            placed = 0 <= begin < end
            yield Citation(
                url=url,
                title=text_of(inner, "title"),
                begin=begin + before if placed else -1,
                end=end + before if placed else -1,
            )
        elif kind in {"file_citation", "container_file_citation"} and (file := text_of(inner, "file_id")):
            yield Citation(file=file, title=text_of(inner, "filename"))


def of_results(results: object, addresses: object) -> list[Citation]:
    """Returns what Perplexity found: `search_results` with their titles, or else `citations`, which are addresses."""
    named = [Citation(url=url, title=text_of(one, "title")) for one in _list(results) if (url := text_of(one, "url"))]
    return named or [Citation(url=one) for one in _list(addresses) if isinstance(one, str) and one]


def as_annotation(one: Citation, before: int = 0) -> dict[str, Any]:
    """Returns an annotation of the Responses API; `before` is as of `of_annotations`."""
    if not one.url:
        return {
            "type": "file_citation",
            "file_id": one.file,
            "filename": one.title,
            "index": max(0, one.begin - before),
        }
    begin, end = (one.begin - before, one.end - before) if one.begin >= before else (0, 0)
    return {"type": "url_citation", "start_index": begin, "end_index": end, "url": one.url, "title": one.title}


def as_chat_annotation(one: Citation) -> dict[str, Any] | None:
    """Returns an annotation of a chat message, which knows addresses only."""
    if not one.url:
        return None
    flat = as_annotation(one)
    return {"type": flat.pop("type"), "url_citation": flat}


# Messages.


def of_block(found: object, begin: int, end: int) -> Citation | None:
    """Returns what one of a block's citations says; the block stands between these letters of the answer."""
    url = text_of(found, "url") or text_of(found, "source")
    title = text_of(found, "title") or text_of(found, "document_title")
    quote, file = text_of(found, "cited_text"), text_of(found, "file_id")
    if not (url or title or file):
        return None
    address = url.startswith(("http://", "https://"))
    return Citation(
        url=url if address else "",
        title=title,
        quote=quote,
        file=file or ("" if address else url),
        begin=begin,
        end=end,
    )


def as_block_citation(one: Citation) -> dict[str, Any] | None:
    """Returns a citation of a block of text; None for a document, whose places there are not known here."""
    if not one.url:
        return None
    found = {"type": "web_search_result_location", "url": one.url, "title": one.title or None}
    # By it the vendor finds its own result again; there is none of others.
    return found | {"encrypted_index": "", "cited_text": one.quote}


# Gemini.


def of_grounding(raw: msgspec.Raw) -> list[Citation]:
    """Returns what `groundingMetadata` says; places are in bytes. A source that stands for nothing has no place."""
    try:
        found = msgspec.json.decode(raw)
    except _BROKEN:
        return []
    chunks = [_source(chunk) for chunk in _list(found.get("groundingChunks") if isinstance(found, dict) else None)]
    cited: list[Citation] = []
    used: set[int] = set()
    for support in _list(found.get("groundingSupports") if isinstance(found, dict) else None):
        segment = support.get("segment") if isinstance(support, dict) else None
        end = _place(segment, "endIndex")
        # The vendor leaves out a place that is 0.
        begin = max(0, _place(segment, "startIndex"))
        for number in _list(support.get("groundingChunkIndices") if isinstance(support, dict) else None):
            source = chunks[number] if type(number) is int and 0 <= number < len(chunks) else None
            if source is not None and begin < end:
                used.add(number)
                cited.append(msgspec.structs.replace(source, begin=begin, end=end))
    return cited + [one for number, one in enumerate(chunks) if one is not None and number not in used]


def _source(chunk: object) -> Citation | None:
    for name in ("web", "retrievedContext", "maps"):
        inner = chunk.get(name) if isinstance(chunk, dict) else None
        uri, title = text_of(inner, "uri"), text_of(inner, "title")
        if uri or title:
            address = uri.startswith(("http://", "https://"))
            quote = text_of(inner, "text")
            return Citation(url=uri if address else "", title=title, quote=quote, file="" if address else uri)
    return None


def of_recitations(raw: msgspec.Raw) -> list[Citation]:
    """Returns what `citationMetadata` says; places are in bytes."""
    try:
        found = msgspec.json.decode(raw)
    except _BROKEN:
        return []
    sources = found.get("citationSources") or found.get("citations") if isinstance(found, dict) else None
    cited = []
    for one in _list(sources):
        begin, end = max(0, _place(one, "startIndex")), _place(one, "endIndex")
        if uri := text_of(one, "uri"):
            placed = begin < end
            cited.append(
                Citation(url=uri, title=text_of(one, "title"), begin=begin if placed else -1, end=end if placed else -1)
            )
    return cited


def as_grounding(cited: Sequence[Citation]) -> dict[str, Any]:
    """Returns a `groundingMetadata`; places are in bytes."""
    chunks: list[dict[str, Any]] = []
    numbers: dict[tuple[str, str, str], int] = {}
    supports = []
    for one in cited:
        source = one.url, one.file, one.title
        if source not in numbers:
            numbers[source] = len(chunks)
            chunks.append(_chunk(one))
        if one.begin >= 0:
            segment = {"startIndex": one.begin, "endIndex": one.end}
            supports.append({"segment": segment, "groundingChunkIndices": [numbers[source]]})
    return {"groundingChunks": chunks} | ({"groundingSupports": supports} if supports else {})


def _chunk(one: Citation) -> dict[str, Any]:
    if one.url:
        return {"web": {"uri": one.url, "title": one.title}}
    found = {"uri": one.file, "title": one.title, "text": one.quote}
    return {"retrievedContext": {name: value for name, value in found.items() if value}}


# Places.


class Places:
    """The text of one answer so far, to tell places in its letters from those in its bytes."""

    def __init__(self) -> None:
        # ASCII has as many letters as bytes; of all else the words are kept.
        self._pieces: list[tuple[int, str]] = []
        self.kept = 0

    def add(self, text: str) -> None:
        """Takes what was said next."""
        if text.isascii():
            if self._pieces and not self._pieces[-1][1]:
                self._pieces[-1] = self._pieces[-1][0] + len(text), ""
            else:
                self._pieces.append((len(text), ""))
        else:
            self.kept += len(text)
            self._pieces.append((len(text), text))

    def in_letters(self, one: Citation) -> Citation:
        """Returns a citation by letters of one by bytes."""
        if one.begin < 0:
            return one
        return msgspec.structs.replace(one, begin=self._letter(one.begin), end=self._letter(one.end))

    def in_bytes(self, one: Citation) -> Citation:
        """Returns a citation by bytes of one by letters."""
        if one.begin < 0:
            return one
        return msgspec.structs.replace(one, begin=self._byte(one.begin), end=self._byte(one.end))

    def _letter(self, byte: int) -> int:
        letters = 0
        for length, text in self._pieces:
            size = len(text.encode()) if text else length
            if byte <= size:
                return letters + (len(text.encode()[:byte].decode(errors="ignore")) if text else byte)
            byte -= size
            letters += length
        return letters

    def _byte(self, letter: int) -> int:
        size = 0
        for length, text in self._pieces:
            if letter <= length:
                return size + (len(text[:letter].encode()) if text else letter)
            letter -= length
            size += len(text.encode()) if text else length
        return size


def placed(reply: Reply, *, read_in_bytes: bool, written_in_bytes: bool) -> Reply:
    """Returns a whole reply whose citations have the places that its writer needs."""
    if not reply.citations or read_in_bytes == written_in_bytes:
        return reply
    places, said = Places(), StringIO()
    for part in reply.parts:
        if isinstance(part, Text):
            said.write(part.text)
    places.add(said.getvalue())
    turn = places.in_letters if read_in_bytes else places.in_bytes
    return msgspec.structs.replace(reply, citations=tuple(map(turn, reply.citations)))
