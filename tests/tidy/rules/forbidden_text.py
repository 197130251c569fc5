"""No registry hosts, machine paths or secrets in what is tracked."""

import configparser
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from tests.tidy.rules.tree import Tree, Violation

PATTERNS = {
    "a registry's address": re.compile(
        r"files\.pythonhosted[.]org|pypi\.org/simple[/]|registry\.npmjs[.]org|/artifactory[/]|index-url[\s=\"',]+http[s]?:"
    ),
    "a path of one machine": re.compile(
        r"(?<![\w.$}/-])/(root|home/(?!nonroot)[a-z]\w*|Users/\w+|work|mnt/\w+)/[\w.]+"
    ),
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE" + " KEY-----"),
    "a secret": re.compile(
        r"\b(sk-(?!tg-)(proj-|ant-)?(?=[\w-]*[0-9])(?=[\w-]*[A-Za-z])[A-Za-z0-9_-]{24,}|AKIA[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{36}"
        r"|xox[abp]-[0-9A-Za-z-]{20,}|AIza[0-9A-Za-z_-]{35})"
    ),
}
BINARY = (".png", ".binpb", ".woff2", ".ico", ".jpg", ".gz", ".tgz")
SETTINGS = ("PIP_INDEX_URL", "UV_INDEX_URL", "UV_DEFAULT_INDEX", "NPM_CONFIG_REGISTRY", "npm_config_registry")


def check(tree: Tree, hosts: tuple[str, ...] = ()) -> Iterator[Violation]:
    """Yields every line that holds such text, or the name of one of `hosts`."""
    for name in tree.names:
        if name.endswith(BINARY):
            continue
        for number, line in enumerate(tree.text(name).splitlines(), 1):
            for what, pattern in PATTERNS.items():
                if pattern.search(line):
                    yield Violation(name, number, f"{what} does not belong into the repository")
            if any(host in line for host in hosts):
                yield Violation(name, number, "the host of this machine's registry does not belong into the repository")


def registry_hosts(environment: Mapping[str, str], files: list[Path]) -> tuple[str, ...]:
    """Returns the hosts that this machine fetches packages from: a lock made here could name them."""
    addresses = [environment.get(name, "") for name in SETTINGS]
    for path in files:
        if path.name == ".npmrc" and path.is_file():
            addresses += re.findall(r"registry\s*=\s*(\S+)", path.read_text(encoding="utf-8"))
        elif path.is_file():
            parser = configparser.ConfigParser()
            parser.read(path, encoding="utf-8")
            addresses += [value for part in parser.values() for key, value in part.items() if key.endswith("index-url")]
    hosts = {urlsplit(address).hostname or "" for text in addresses for address in text.split()}
    return tuple(sorted(hosts - {"", "localhost", "127.0.0.1", "pypi.org"}))


PLANTED = [
    ({"a.lock": "x @ https://files.python" + "hosted.org/x.whl\n"}, "registry"),
    ({"package-lock.json": '"resolved": "https://registry.npm' + 'js.org/x.tgz"\n'}, "registry"),
    ({"Dockerfile": "RUN pip install --index-url" + " https://packages.example.net/simple x\n"}, "registry"),
    ({"a.py": 'X = "/ro' + 'ot/project/x"\n'}, "a path of one machine"),
    ({"a.md": "See `/ho" + "me/alice/x`.\n"}, "a path of one machine"),
    ({"a.yaml": "cd /wo" + "rk/main\n"}, "a path of one machine"),
    ({"a.pem": "-----BEGIN RSA PRIVATE" + " KEY-----\n"}, "a private key"),
    ({"a.py": 'KEY = "sk-' + 'proj-0123456789abcdefghijklmnop"\n'}, "a secret"),
    ({"a.py": 'KEY = "AKIA' + 'ABCDEFGHIJKLMNOP"\n'}, "a secret"),
]
KEPT = [
    {"a.md": "Keys look like `sk-tg-…`; state lies in `HOME/run`, the chart mounts `/var/lib/tollgate`.\n"},
    {"Dockerfile": "WORKDIR /home/nonroot/app\nCOPY . /srv/work/x\n"},
    {"a.yaml": "base_url: https://api.openai.com/v1\n"},
]
