"""An S3 server that checks signatures, over a directory: s3proxy."""

import uuid
from pathlib import Path

from tests.servers.java import jars, java
from tests.servers.process import Child, accepts, free_port

HERE = Path(__file__).resolve().parent
ACCESS_KEY = "tollgate-tests"
SECRET_KEY = "not-a-secret-of-anybody"


class S3Server:
    """A server below `directory`; buckets are folders of it."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self._buckets = directory / "buckets"
        self._buckets.mkdir()
        settings = directory / "s3proxy.properties"
        settings.write_text(
            f"s3proxy.endpoint={self.endpoint}\n"
            "s3proxy.authorization=aws-v4\n"
            f"s3proxy.identity={ACCESS_KEY}\n"
            f"s3proxy.credential={SECRET_KEY}\n"
            "s3proxy.ignore-unknown-headers=true\n"
            "jclouds.provider=filesystem-nio2\n"
            f"jclouds.filesystem.basedir={self._buckets}\n",
            encoding="utf-8",
        )
        program = java("s3proxy")
        (jar,) = jars("s3proxy", "s3proxy-4.1.0", HERE / "pom.xml").glob("s3proxy-*.jar")
        command = [program, "-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-jar", jar]
        self._child = Child([*command, "--properties", settings], directory / "s3proxy.log")

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Starts the server and waits until it listens."""
        self._child.start(lambda: accepts(self.port))

    def stop(self) -> None:
        """Stops the server."""
        self._child.stop()

    def new_bucket(self) -> str:
        """Makes an empty bucket and returns its name."""
        name = f"test-{uuid.uuid4().hex[:12]}"
        (self._buckets / name).mkdir()
        return name

    def environment(self) -> dict[str, str]:
        """Returns the usual variables that point an S3 client here."""
        return {
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ALLOW_HTTP": "true",
            "AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "false",
        }
