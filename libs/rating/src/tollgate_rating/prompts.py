"""About how many tokens a prompt has where nobody counted them: by its bytes, without those of files within it."""

import re
from collections.abc import Iterable
from typing import Final

BYTES_PER_TOKEN: Final = 4
# What a picture or a page costs about, whatever its bytes are.
_TOKENS_PER_FILE: Final = 1600
# Base64 from the beginning of a string or of a data URL's data: in lines of 64 or 76 letters, or as one, also where
# slashes are escaped. Letters of an escape (\u4f60) are text, and so are words in lines. To look at every word instead
# would take 30 ms of 400 KB.
_LETTER: Final = b"[A-Za-z0-9+/_-]"
_RUN: Final = rb"(?:%b++|\\/)" % _LETTER
# One letter after another only in a line that has an escaped slash.
_LINE: Final = b"|".join(b"%b{64}(?:%b{12})?" % (one, one) for one in (_LETTER, rb"(?:%b|\\/)" % _LETTER))
_BASE64: Final = rb"(?:(?:(?:%b)(?:\\r)?\\n)++%b*+|%b++)" % (_LINE, _RUN, _RUN)
_LEAST_FILE_BYTES: Final = 1024
# Letters and backslashes are all that a file has after its beginning. Short strings, of which a prompt may have
# thousands, are passed over by that: 600 KB of quoted words take 2 ms in place of 45. A picture of 5 MB takes 4 to 16,
# and 60 in lines with escaped slashes.
_LONG: Final = rb"(?=[A-Za-z0-9+/_\\-]{%d})" % (_LEAST_FILE_BYTES - len(b";base64,"))
# Apart, since each is found by what it begins with: as one they would take six times as long of words.
_FILES: Final = (re.compile(b'"' + _LONG + _BASE64), re.compile(b";base64," + _LONG + _BASE64))


def embedded_files(prompt: bytes | bytearray | memoryview) -> list[int]:
    """Returns how many bytes each file has that is embedded in a prompt's JSON, in whichever dialect.

    A run of a thousand letters without blanks that a string begins with is one, whatever it stands for.
    """
    return [
        size
        for pattern in _FILES
        for found in pattern.finditer(prompt)
        if (size := found.end() - found.start()) >= _LEAST_FILE_BYTES
    ]


def prompt_tokens(length: int, files: Iterable[int]) -> int:
    """Returns about how many tokens a prompt of `length` bytes has; each file is 1,600 where its size would be more."""
    saved = sum(max(0, size // BYTES_PER_TOKEN - _TOKENS_PER_FILE) for size in files)
    return max(0, length // BYTES_PER_TOKEN - saved) + 1
