"""Speech and transcripts: from a request to the bytes of its reply. No I/O.

A second of speech has 15 characters and 20 tokens; a second of a recording has 10 tokens, and two words are heard in
it. `pcm` and `wav` are sound (a tone), the other formats are only marked as what they would be.
"""

import base64
import hashlib
import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tollgate_simulator_provider.answers import VOCABULARY
from tollgate_simulator_provider.refusals import Refused
from tollgate_simulator_provider.tokens import text_tokens

RATE = 8000
PIECE = 8000
MOST_CHARACTERS = 4096
MOST_FILE_BYTES = 25 * 1024 * 1024
TYPES = {
    "mp3": b"audio/mpeg",
    "opus": b"audio/opus",
    "aac": b"audio/aac",
    "flac": b"audio/flac",
    "wav": b"audio/wav",
    "pcm": b"audio/pcm",
}
MARKS = {"mp3": b"\xff\xf3\x44\xc4", "opus": b"OggS", "aac": b"\xff\xf1\x50\x80", "flac": b"fLaC"}
FORMS = ("json", "text", "srt", "verbose_json", "vtt")


@dataclass(frozen=True, slots=True)
class Speech:
    """Spoken text: the pieces of its sound, or of a stream of events."""

    kind: bytes
    sound: bytes
    units: dict[str, int]
    reported: object
    events: bool

    def pieces(self) -> Iterator[bytes]:
        """Yields what is sent."""
        for at in range(0, len(self.sound), PIECE):
            piece = self.sound[at : at + PIECE]
            yield _event("speech.audio.delta", audio=base64.b64encode(piece).decode()) if self.events else piece
        if self.events:
            yield _event("speech.audio.done", usage=self.reported)


def speak(request: Mapping[str, Any]) -> Speech:
    """Returns the speech that a request asks for. Raises Refused."""
    model, text = request["model"], request.get("input")
    if not isinstance(text, str) or not 0 < len(text) <= MOST_CHARACTERS:
        raise Refused(400, f"Invalid 'input': 1 to {MOST_CHARACTERS} characters.", param="input")
    if not isinstance(request.get("voice"), str):
        raise Refused(400, "Missing 'voice'.", param="voice", code="missing_required_parameter")
    form = request.get("response_format") or "mp3"
    if form not in TYPES:
        raise Refused(400, f"Invalid 'response_format': must be one of {', '.join(TYPES)}.", param="response_format")
    by_tokens, events = model.startswith("gpt"), request.get("stream_format") == "sse"
    if events and not by_tokens:
        raise Refused(400, "'stream_format' sse is not supported by this model.", param="stream_format")
    seconds = len(text) // 15 + 1
    into, out = text_tokens(text), seconds * 20
    tokens = {"input_tokens": into, "output_tokens": out, "total_tokens": into + out}
    units = {"input": into, "audio_output": out} if by_tokens else {"character": len(text)}
    return Speech(TYPES[form], _tone(text, seconds, form), units, tokens if events else None, events)


def _tone(text: str, seconds: int, form: str) -> bytes:
    seed = hashlib.blake2b(text.encode(), digest_size=16).digest()
    samples = bytes(seed[at % 16] for at in range(RATE * seconds))
    if form == "wav":
        size = len(samples)
        return struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + size, b"WAVE", b"fmt ", 16, 1, 1, RATE, RATE, 1, 8,
                           b"data", size) + samples  # fmt: skip
    return MARKS.get(form, b"") + samples


@dataclass(frozen=True, slots=True)
class Transcript:
    """What was heard; `stream` yields it as events where the model streams."""

    text: str
    seconds: float
    form: str
    units: dict[str, int]
    reported: dict[str, Any]
    streams: bool

    @property
    def kind(self) -> bytes:
        """Its Content-Type."""
        return b"application/json" if "json" in self.form else b"text/plain; charset=utf-8"

    def body(self) -> bytes:
        """Returns it as a whole."""
        if self.form == "text":
            return f"{self.text}\n".encode()
        if self.form == "srt":
            return f"1\n00:00:00,000 --> {_clock(self.seconds, ',')}\n{self.text}\n\n".encode()
        if self.form == "vtt":
            return f"WEBVTT\n\n00:00:00.000 --> {_clock(self.seconds, '.')}\n{self.text}\n\n".encode()
        reply: dict[str, Any] = {"text": self.text}
        if self.form == "verbose_json":
            segment = {"id": 0, "seek": 0, "start": 0.0, "end": self.seconds, "text": self.text, "tokens": []}
            segment |= {"temperature": 0.0, "avg_logprob": -0.1, "compression_ratio": 1.0, "no_speech_prob": 0.0}
            reply |= {"task": "transcribe", "language": "english", "duration": self.seconds, "segments": [segment]}
        return json.dumps(reply | {"usage": self.reported}).encode()

    def events(self) -> Iterator[bytes]:
        """Yields the events of a stream."""
        for word in self.text.split():
            yield _event("transcript.text.delta", delta=word + " ")
        yield _event("transcript.text.done", text=self.text, usage=self.reported)


def hear(request: Mapping[str, Any]) -> Transcript:
    """Returns the transcript of the file in a form. Raises Refused."""
    model, file = request["model"], request.get("file")
    if not isinstance(file, bytes) or not file:
        raise Refused(400, "Missing 'file'.", param="file", code="missing_required_parameter")
    if len(file) > MOST_FILE_BYTES:
        raise Refused(413, f"Maximum content size limit ({MOST_FILE_BYTES}) exceeded.")
    by_tokens = model.startswith("gpt")
    form = request.get("response_format") or "json"
    if form not in FORMS or (by_tokens and form != "json"):
        raise Refused(400, f"response_format '{form}' is not supported by this model.", param="response_format")
    seconds = _length(file)
    words = VOCABULARY.split()
    start = hashlib.blake2b(file, digest_size=2).digest()[0]
    text = " ".join(words[(start + at) % len(words)] for at in range(max(1, int(seconds * 2))))
    if not by_tokens:
        whole = max(1, -int(-seconds // 1))
        usage: dict[str, Any] = {"type": "duration", "seconds": whole}
        return Transcript(text, seconds, form, {"audio_second": whole}, usage, streams=False)
    prompt, heard, said = text_tokens(request.get("prompt") or ""), max(1, int(seconds * 10)), text_tokens(text)
    details = {"text_tokens": prompt, "audio_tokens": heard}
    usage = {"type": "tokens", "input_tokens": prompt + heard, "input_token_details": details}
    usage |= {"output_tokens": said, "total_tokens": prompt + heard + said}
    units = {"input": prompt, "audio_input": heard, "output": said}
    return Transcript(text, seconds, form, units, usage, streams=True)


def _length(file: bytes) -> float:
    """Returns the seconds of a WAV file as `speak` makes them, else of its size at 128 kbit/s."""
    if file.startswith(b"RIFF") and len(file) >= 44:
        (rate,) = struct.unpack_from("<I", file, 28)
        return float((len(file) - 44) / max(1, rate))
    return len(file) / 16_000


def _clock(seconds: float, mark: str) -> str:
    whole = round(seconds * 1000)
    return f"{whole // 3_600_000:02}:{whole // 60_000 % 60:02}:{whole // 1000 % 60:02}{mark}{whole % 1000:03}"


def _event(kind: str, **fields: object) -> bytes:
    return b"data: %b\n\n" % json.dumps({"type": kind, **fields}).encode()
