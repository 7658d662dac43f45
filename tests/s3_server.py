"""A real S3 server on loopback, with one bucket; found, as in earnest, through the environment alone."""
import logging
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import fsspec
import pytest


@dataclass(frozen=True)
class S3:
    endpoint: str
    bucket: str

    def url(self, prefix: str) -> str:
        return f"s3://{self.bucket}/{prefix}"

    def refuse_everybody(self) -> None:
        """From now on keys are checked, and the server knows none."""
        self._without_auth(0)

    def admit_everybody(self) -> None:
        self._without_auth(float("inf"))

    def _without_auth(self, actions: float) -> None:
        request = urllib.request.Request(f"{self.endpoint}/moto-api/reset-auth", data=str(actions).encode(), headers={"Content-Type": "text/plain"})
        urllib.request.urlopen(request).read()


@contextmanager
def s3_server() -> Iterator[S3]:
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # thousands of requests
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as environment:
        for name, value in {"AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "secret-of-the-test",
                            "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true"}.items():
            environment.setenv(name, value)
        fsspec.get_filesystem_class("s3").clear_instance_cache()
        # Servers of one process share what they hold: another module's server may have been here.
        urllib.request.urlopen(urllib.request.Request(f"http://{host}:{port}/moto-api/reset", method="POST")).read()
        fsspec.filesystem("s3").mkdir("shards")
        yield S3(f"http://{host}:{port}", "shards")
        fsspec.get_filesystem_class("s3").clear_instance_cache()
    server.stop()
