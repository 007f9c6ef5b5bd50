"""The embedded services: each starts on a fresh directory, again on the same one, and leaves no process."""

from __future__ import annotations

import os
import signal
import smtplib
import subprocess
import sys
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path

import psutil
import pytest
from botocore.exceptions import ClientError
from pg8000.exceptions import DatabaseError

from demo.mailbox import USER, MailServer
from demo.postgres import Postgres
from demo.s3 import S3Server
from demo.service import LOOPBACK, Service, ServiceError
from tests.conditions import until

pytestmark = pytest.mark.timeout(120)


def family(service: Service) -> list[psutil.Process]:
    """The program, its guard, and all their children."""
    assert service.pid is not None
    guard = psutil.Process(service.pid).parent()
    assert guard is not None
    return [guard, *guard.children(recursive=True)]


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    with Postgres(tmp_path_factory.mktemp("postgres"), durable=False) as server:
        yield server


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with S3Server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture(scope="module")
def mail_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MailServer]:
    with MailServer(tmp_path_factory.mktemp("mail")) as server:
        yield server


def test_postgres_writes_a_log_that_can_be_decoded(postgres: Postgres) -> None:
    assert postgres.sql("show wal_level") == [["logical"]]
    assert postgres.sql("show server_version_num")[0][0].startswith("18")


def test_postgres_refuses_a_wrong_password(postgres: Postgres) -> None:
    with (
        pytest.raises(DatabaseError, match="password authentication failed"),
        postgres.connection(password="wrong"),
    ):
        pass


def test_postgres_keeps_its_password_from_others(postgres: Postgres) -> None:
    assert (postgres.directory / "password").stat().st_mode & 0o777 == 0o600


def test_postgres_keeps_its_data_over_a_restart_and_a_crash(tmp_path: Path) -> None:
    with Postgres(tmp_path / "postgres") as server:
        server.sql("create table kept (n integer); insert into kept values (1)")
        port = server.port
        server.restart()
        assert server.port == port
        server.kill()
        assert not server.is_running
        server.start()
        assert server.sql("select n from kept") == [[1]]


def test_nothing_is_left_after_a_stop(tmp_path: Path) -> None:
    server = Postgres(tmp_path / "postgres", durable=False).start()
    processes = family(server)
    assert len(processes) > 3
    server.stop()
    assert not any(process.is_running() for process in processes)
    server.stop()  # a second time does nothing


def test_nothing_is_left_when_the_owner_is_killed(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from demo.postgres import Postgres;"
        "server = Postgres(Path(sys.argv[1]), durable=False).start();"
        "print(server.pid, flush=True); sys.stdin.read()"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "postgres")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert owner.stdout is not None
    pid = int(owner.stdout.readline())
    processes = psutil.Process(owner.pid).children(recursive=True)
    assert pid in [process.pid for process in processes]
    os.kill(owner.pid, signal.SIGKILL)
    owner.communicate(timeout=60)
    until(
        lambda: not any(process.is_running() for process in processes),
        seconds=20,
        what="all processes end",
    )


def test_what_a_service_leaves_behind_is_ended_with_it(tmp_path: Path) -> None:
    class Shell(Service):
        name = "shell"
        port_names = ()

        def command(self) -> list[str]:
            # a grandchild in a session of its own, as a worker's flow runs are
            return ["sh", "-c", "setsid sleep 600 & echo began; wait"]

        def is_ready(self) -> bool:
            return "began" in self.log_tail() and len(family(self)) == 3

    with Shell(tmp_path / "shell") as shell:
        processes = family(shell)
        shell.kill()
        assert not any(process.is_running() for process in processes)


def test_a_service_that_ends_at_once_is_one_clear_error(tmp_path: Path) -> None:
    class Broken(Service):
        name = "broken"

        def command(self) -> list[str]:
            return ["sh", "-c", "echo no such option >&2; exit 3"]

        def is_ready(self) -> bool:
            return False

    with pytest.raises(ServiceError, match="broken: the program ended") as raised:
        Broken(tmp_path / "broken").start()
    assert "no such option" in str(raised.value)
    assert "broken.log" in str(raised.value)


def test_s3_is_not_started_on_a_disk_where_it_would_take_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("demo.s3.LEAST_FREE", 1.0)
    server = S3Server(tmp_path / "s3")
    with pytest.raises(ServiceError, match=r"GB free; below .* GB .* takes no object. Free some space"):
        server.start()
    assert not server.is_running


def test_s3_puts_an_object_only_if_it_is_absent(s3: S3Server) -> None:
    client = s3.client()
    client.put_object(Bucket=s3.bucket, Key="a/first.json", Body=b"1", IfNoneMatch="*")
    with pytest.raises(ClientError, match="PreconditionFailed"):
        client.put_object(Bucket=s3.bucket, Key="a/first.json", Body=b"2", IfNoneMatch="*")
    assert client.get_object(Bucket=s3.bucket, Key="a/first.json")["Body"].read() == b"1"


def test_s3_refuses_a_wrong_secret(s3: S3Server) -> None:
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        s3.client(secret_access_key="wrong").list_objects_v2(Bucket=s3.bucket)


def test_s3_listens_on_the_loopback_and_on_its_own_ports_only(s3: S3Server) -> None:
    assert s3.pid is not None
    listening = [
        connection.laddr
        for connection in psutil.Process(s3.pid).net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert {address.ip for address in listening} == {LOOPBACK}
    assert set(s3.ports.values()) <= {address.port for address in listening}
    assert len(listening) == len(s3.ports) + 1  # and the admin's second port


def test_s3_finds_its_objects_again_on_other_ports(tmp_path: Path) -> None:
    with S3Server(tmp_path / "s3") as server:
        server.client().put_object(Bucket=server.bucket, Key="kept", Body=b"x" * 100_000)
        ports = server.ports
    (tmp_path / "s3" / "ports.json").unlink()
    with S3Server(tmp_path / "s3") as server:
        assert server.ports != ports
        body = server.client().get_object(Bucket=server.bucket, Key="kept")["Body"].read()
        assert len(body) == 100_000


def test_the_mailbox_keeps_a_mail(mail_server: MailServer) -> None:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "a@example.com", "b@example.com", "Größe"
    mail.set_content("Zeile eins\nline two\n")
    with smtplib.SMTP(LOOPBACK, mail_server.port) as client:
        client.login(USER, mail_server.password)
        client.send_message(mail)
    kept = mail_server.mailbox.wait_for(lambda message: message["Subject"] == "Größe", 5)
    assert kept["To"] == "b@example.com"
    assert kept.get_content().splitlines() == ["Zeile eins", "line two"]
    with pytest.raises(TimeoutError, match="1 other mails"):
        mail_server.mailbox.wait_for(lambda message: message["Subject"] == "never sent", 0.2)


def test_the_mailbox_takes_nothing_without_a_login(mail_server: MailServer) -> None:
    with smtplib.SMTP(LOOPBACK, mail_server.port) as client:
        client.ehlo()
        assert client.mail("a@example.com")[0] == 530
        with pytest.raises(smtplib.SMTPAuthenticationError):
            client.login(USER, "wrong")
