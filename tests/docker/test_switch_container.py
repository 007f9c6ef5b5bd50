"""The dead man's switch in the container that docs/alerts.md tells to run: it needs nothing of ours."""

from __future__ import annotations

from pathlib import Path

from demo.mailbox import MailServer
from tests.docker.engine import BASE, HARDENED, Engine, build

PLACE = "deployments/dead_mans_switch"
VOLUME = "groundwork-switch-tested"


def test_in_its_container_it_tells_that_the_server_is_gone(engine: Engine, tmp_path: Path) -> None:
    build(engine, "groundwork-switch:tested", PLACE, BASE_IMAGE=BASE)
    with MailServer(tmp_path) as mails:
        container = engine.client.containers.run(
            "groundwork-switch:tested",
            ["python", "-I", "/switch.py", "--every", "1"],
            detach=True,
            volumes=[f"{VOLUME}:/state"],
            environment={
                "PREFECT_API_URL": "http://127.0.0.1:1/api", "SWITCH_SMTP_URL": mails.url,
                "SWITCH_FROM": "switch@example.com", "SWITCH_TO": "data-team@example.com",
            },
            **HARDENED,
        )  # fmt: skip
        try:
            mail = mails.mailbox.wait_for(lambda mail: mail["From"] == "switch@example.com", timeout=120)
            assert mail["Subject"] == "[Groundwork] server: Prefect does not answer (dead man's switch)"
            assert container.attrs["Config"]["User"] == "65534:65534"
        finally:
            container.remove(force=True)
            engine.client.volumes.get(VOLUME).remove(force=True)
