"""Forms with files, read by the standard library's mail parser. No I/O."""

from email import policy
from email.parser import BytesParser
from typing import Any

from tollgate_simulator_provider.refusals import Refused


def read(body: bytes, content_type: bytes) -> dict[str, Any]:
    """Returns texts by field, files as their bytes; what is called `name[]` is a list. Raises Refused."""
    if not content_type.lower().startswith(b"multipart/form-data"):
        raise Refused(400, "Content-Type must be multipart/form-data.")
    whole = b"content-type: " + content_type + b"\r\n\r\n" + body
    message = BytesParser(policy=policy.HTTP).parsebytes(whole)
    if message.defects or not message.is_multipart():
        raise Refused(400, "Could not parse multipart form.")
    found: dict[str, Any] = {}
    for part in message.iter_parts():
        name = str(part.get_param("name", header="content-disposition"))
        payload = part.get_payload(decode=True)
        assert isinstance(payload, bytes)
        value: Any = payload if part.get_filename() is not None else payload.decode()
        if name.endswith("[]"):
            found.setdefault(name[:-2], []).append(value)
        else:
            found[name] = value
    return found
