"""docker-compose.yml on a real Docker engine: to the published model, and through two accidents.

Skipped, visibly, where no engine answers. Images, volumes and networks bear a name of this test's own
and are removed at the end; the engine's build cache stays.
"""

import http.client
import json
import os
import re
import secrets
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import docker
import pytest
from docker.models.containers import Container

from mien_common.published import read_published
from mien_lab.demo import DemoSettings

from ..waiting import wait_until

ROOT: Final = Path(__file__).parents[2]
SITES: Final = 3
ROUNDS: Final = 4
SMALL: Final = {
    "MIEN_PARTICIPANTS": str(SITES),
    "MIEN_CLIENTS": str(SITES),
    "MIEN_SECONDS": "8",
    "MIEN_ROUNDS": str(ROUNDS),
    "MIEN_DEADLINE_S": "20",
}
POLL_S: Final = 0.25

# Building both images without a cache, on a slow line, is most of this.
pytestmark = pytest.mark.timeout(1500)


@dataclass(frozen=True)
class Federation:
    """A composed federation, named ``project``, whose run has been started."""

    project: str
    engine: docker.DockerClient
    page_port: str

    def compose(self, *arguments: str, **settings: str) -> str:
        """Standard output of ``docker compose ARGUMENTS``."""
        done = subprocess.run(
            ["docker", "compose", "--project-name", self.project, *arguments],
            cwd=ROOT,
            env=os.environ
            | SMALL
            | {"MIEN_TAG": self.project, "MIEN_DASHBOARD_PORT": self.page_port}
            | settings,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"docker compose {arguments[0]}:\n{done.stdout}\n{done.stderr[-4000:]}"
        return done.stdout

    def containers(self, service: str | None = None) -> list[Container]:
        """This federation's containers, ended ones too, in the order of their names."""
        labels = [f"com.docker.compose.project={self.project}"]
        if service is not None:
            labels.append(f"com.docker.compose.service={service}")
        found = self.engine.containers.list(all=True, filters={"label": labels})
        return sorted(found, key=lambda container: str(container.name))

    def rounds(self, since: float | None = None) -> list[str]:
        """The lines that ``run`` printed of finished rounds."""
        (run,) = self.containers("run")
        lines = run.logs(since=since).decode().splitlines()
        return [line for line in lines if re.match(r"round +\d+/\d+ ", line)]

    def finish_run(self, since: float | None = None, patience_s: float = 300.0) -> list[str]:
        """Wait for the run's end; the rounds it printed."""
        (run,) = self.containers("run")
        ended = run.wait(timeout=patience_s)
        assert ended["StatusCode"] == 0, run.logs(since=since).decode()
        return self.rounds(since)

    def start_run_anew(self) -> float:
        """Start one more run, wait for its first round; when it was started."""
        (run,) = self.containers("run")
        started = time.time()
        run.start()
        wait_until(lambda: len(self.rounds(started)) >= 1, "no first round", every_s=POLL_S)
        return started

    def models(self) -> list[dict[str, Any]]:
        """What the server's operator sees published."""
        listed = self.compose("exec", "--no-TTY", "server", "mien", "server", "models", "--json")
        return [json.loads(line) for line in listed.splitlines()]


@pytest.fixture(scope="module")
def federation() -> Iterator[Federation]:
    # The command is asked first: the SDK leaks a socket where no engine answers, and warnings are errors.
    if shutil.which("docker") is None:
        pytest.skip("there is no docker command on this machine")
    asked = subprocess.run(["docker", "version"], capture_output=True, text=True, check=False)
    if asked.returncode != 0:
        pytest.skip(f"no Docker engine answers: {asked.stderr.strip()}")
    engine = docker.from_env()
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = str(probe.getsockname()[1])
    composed = Federation(f"mien-test-{secrets.token_hex(4)}", engine, port)
    try:
        composed.compose("up", "--build", "--detach")
        yield composed
    finally:
        composed.compose("down", "--volumes", "--rmi", "all", "--timeout", "10", "--remove-orphans")
        engine.close()


@pytest.fixture(scope="module")
def first_run(federation: Federation) -> list[str]:
    """The rounds of the run that ``docker compose up`` starts."""
    return federation.finish_run()


def shell(container: Container, command: str) -> tuple[int, str]:
    """Exit status and output of a command inside a running container."""
    done = container.exec_run(["sh", "-c", command])
    return done.exit_code, done.output.decode()


def test_up_reaches_a_published_model(federation: Federation, first_run: list[str], tmp_path: Path) -> None:
    assert len(first_run) == ROUNDS
    federation.compose("cp", "--follow-link", "server:/server/models/latest", str(tmp_path / "model"))
    card, _ = read_published(tmp_path / "model")
    assert card.round == ROUNDS
    assert [part.site for part in card.sites] == ["participant-01", "participant-02", "participant-03"]


@pytest.mark.usefixtures("first_run")
def test_every_container_is_confined(federation: Federation) -> None:
    containers = federation.containers()
    assert len(containers) == 6 + SITES
    for container in containers:
        host = container.attrs["HostConfig"]
        assert container.attrs["Config"]["User"] == "mien", container.name
        assert host["ReadonlyRootfs"], container.name
        assert host["CapDrop"] == ["ALL"], container.name
        assert not host["Privileged"], container.name
        assert "no-new-privileges:true" in host["SecurityOpt"], container.name
    for container in (*federation.containers("server"), *federation.containers("client")):
        assert shell(container, "id -u") == (0, "10001\n")
        assert shell(container, "touch /opt/mien/here")[0] != 0
        _, status = shell(container, "cat /proc/1/status")
        assert re.search(r"^CapEff:\s0+$", status, re.MULTILINE)
        assert re.search(r"^NoNewPrivs:\s1$", status, re.MULTILINE)


@pytest.mark.usefixtures("first_run")
def test_each_side_has_only_its_own_rooms(federation: Federation) -> None:
    (server,), client = federation.containers("server"), federation.containers("client")[0]
    for container, absent in (
        (client, "mien_server mien_lab"),
        (server, "mien_client mien_lab cv2 mediapipe"),
    ):
        for module in absent.split():
            status, output = shell(container, f"python -c 'import {module}'")
            assert status != 0, f"{module} is in the image of {container.name}"
            assert "ModuleNotFoundError" in output


@pytest.mark.usefixtures("first_run")
def test_the_federation_is_cut_off_from_everything_else(federation: Federation) -> None:
    (network,) = federation.engine.networks.list(names=[f"{federation.project}_federation"])
    assert network.attrs["Internal"]
    (page,) = federation.engine.networks.list(names=[f"{federation.project}_page"])
    page.reload()
    assert page.attrs["Options"]["com.docker.network.bridge.enable_ip_masquerade"] == "false"
    (server,) = federation.containers("server")
    assert list(page.attrs["Containers"]) == [server.id], "alone there"


@pytest.mark.usefixtures("first_run")
def test_the_operator_opens_the_page_and_nothing_else_is_published(
    federation: Federation, tmp_path: Path
) -> None:
    (server,) = federation.containers("server")
    ports = server.attrs["NetworkSettings"]["Ports"]
    published = {name: where for name, where in ports.items() if where}
    assert published == {"9096/tcp": [{"HostIp": "127.0.0.1", "HostPort": federation.page_port}]}
    federation.compose("cp", "server:/server/tls/ca.crt", str(tmp_path / "ca.crt"))
    trust = ssl.create_default_context(cafile=str(tmp_path / "ca.crt"))
    token = federation.compose("exec", "--no-TTY", "server", "mien", "server", "token").strip()
    page = http.client.HTTPSConnection("localhost", int(federation.page_port), context=trust, timeout=20)
    try:
        page.request("GET", "/api/v1/status", headers={"Authorization": f"Bearer {token}"})
        answer = page.getresponse()
        assert answer.status == 200
        assert len(json.loads(answer.read())["sites"]) == SITES
        page.request("GET", "/")
        assert page.getresponse().read().startswith(b"<!doctype html>")
    finally:
        page.close()


@pytest.mark.usefixtures("first_run")
def test_a_killed_client_does_not_stop_the_run(federation: Federation) -> None:
    victim = federation.containers("client")[0]
    started = federation.start_run_anew()
    victim.kill()
    rounds = federation.finish_run(started)
    assert len(rounds) == ROUNDS
    assert re.search(r" 2/\d sites ", rounds[-1]), rounds[-1]

    came_back = time.time()
    victim.start()
    wait_until(
        lambda: b" joined " in victim.logs(since=came_back), "the client did not join again", every_s=POLL_S
    )


@pytest.mark.usefixtures("first_run")
def test_a_client_that_loses_its_network_does_not_stop_the_run(federation: Federation) -> None:
    before = len(federation.models())
    victim = federation.containers("client")[1]
    (network,) = federation.engine.networks.list(names=[f"{federation.project}_federation"])
    started = federation.start_run_anew()
    network.disconnect(victim)
    rounds = federation.finish_run(started)
    assert len(rounds) == ROUNDS
    assert re.search(r" 2/\d sites ", rounds[-1]), rounds[-1]
    assert len(federation.models()) == before + ROUNDS


@pytest.mark.usefixtures("first_run")
def test_its_defaults_are_those_of_the_demo() -> None:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("MIEN_")}
    done = subprocess.run(
        ["docker", "compose", "config", "--format", "json"],
        cwd=ROOT,
        env=plain,
        capture_output=True,
        check=True,
    )
    services = json.loads(done.stdout)["services"]
    videos, run = services["videos"]["environment"], services["run"]["environment"]
    demo = DemoSettings()
    assert services["client"]["deploy"]["replicas"] == int(videos["PARTICIPANTS"]) == demo.participants
    assert int(videos["SESSIONS"]) == demo.sessions
    assert float(videos["SECONDS_EACH"]) == demo.seconds
    assert int(videos["SEED"]) == int(run["SEED"]) == demo.seed
    assert int(run["ROUNDS"]) == demo.rounds
    assert float(run["WINDOW_S"]) == demo.training.window_s
