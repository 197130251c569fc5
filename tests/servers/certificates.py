"""Certificate authorities of tests: made by the openssl command, valid for a day, gone with their folder."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.servers.process import unavailable

_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


@dataclass(frozen=True)
class Certificate:
    """PEM files."""

    certificate: Path
    key: Path


class Authority:
    """Signs certificates; `certificate` is what those must have who are to trust it."""

    def __init__(self, folder: Path, name: str) -> None:
        if shutil.which("openssl") is None:
            unavailable("openssl", "apt-get install openssl")
        self._folder = folder
        self._name = name
        self.certificate = folder / f"{name}.pem"
        self._key = folder / f"{name}.key"
        _openssl(
            "req", "-x509", *_KEY, "-keyout", self._key, "-out", self.certificate, "-days", "1", "-subj", f"/CN={name}",
            "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign",
        )  # fmt: skip

    def issue(self, *names: str, expired: bool = False) -> Certificate:
        """Returns a certificate for names such as `DNS:localhost` and `IP:127.0.0.1`."""
        stem = f"{self._name}-{len(list(self._folder.iterdir()))}"
        made = Certificate(self._folder / f"{stem}.pem", self._folder / f"{stem}.key")
        request, extensions = self._folder / f"{stem}.csr", self._folder / f"{stem}.ext"
        extensions.write_text(f"subjectAltName={','.join(names)}\n")
        _openssl("req", "-new", *_KEY, "-keyout", made.key, "-out", request, "-subj", "/CN=test")
        _openssl(
            "x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self._key, "-CAcreateserial",
            "-out", made.certificate, "-days", "-1" if expired else "1", "-extfile", extensions,
        )  # fmt: skip
        return made


def _openssl(*arguments: object) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)
