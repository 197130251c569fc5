"""Java programs of tests: jars are fetched once through Maven into the checkout's cache."""

import re
import shutil
import subprocess
from pathlib import Path

from tests.servers.process import locked, run, unavailable

COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies"


def java(what: str, least: int = 17) -> str:
    """Returns the path of a Java of version `least` or later, or ends the test."""
    found = shutil.which("java")
    install = "apt-get install default-jre-headless maven"
    if found is None:
        unavailable(what, install)
    said = subprocess.run([found, "-version"], check=False, capture_output=True, text=True).stderr
    version = re.search(r'version "(\d+)', said)
    if version is None or int(version[1]) < least:
        unavailable(what, f"{install} (Java {least} or later; this one is {said.splitlines()[0] if said else 'mute'})")
    return found


def jars(what: str, name: str, pom: Path) -> Path:
    """Returns the folder with the jars of `pom` and all they need; fetches them when it is not there yet."""
    with locked(name) as cache:
        folder = cache / name
        if folder.is_dir():
            return folder
        maven = shutil.which("mvn")
        if maven is None:
            unavailable(what, "apt-get install maven")
        partial = cache / f"{name}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        run([maven, "-B", "-q", "-f", pom, COPY, "-DincludeScope=runtime", f"-DoutputDirectory={partial}"])
        partial.rename(folder)
        return folder
