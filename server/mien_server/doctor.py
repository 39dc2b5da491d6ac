"""What may keep a server from working, looked at one by one, each with how to mend it.

Enters: the server's folder. Leaves: findings. Nothing is changed, and nothing but this machine and its name
service is asked.
"""

import ctypes
import datetime as dt
import re
import shutil
import socket
from collections.abc import Callable, Iterable
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Final

from mien_common.errors import FederationError, MienError, TrustError
from mien_common.files import read_bounded
from mien_common.findings import Finding, fault, ok, warning
from mien_common.release import (
    INDEX_FILE,
    INDEX_LIMIT_BYTES,
    KEY_FILE,
    KEY_LIMIT_BYTES,
    fingerprint,
    read_public_key,
    verified_index,
)
from mien_common.validity import days_left, ends_soon, key_end
from mien_common.versions import MIEN_VERSION
from mien_server.certificates import check_certificates, ending_soon, read_certificate
from mien_server.folder import LOOPBACK, ServerFolder
from mien_server.health import check_dashboard, check_door, check_health, check_releases
from mien_server.history.finding import history_finding
from mien_server.membership.enrolment import pem_of, public_key_pem
from mien_server.membership.invites import certificate_names
from mien_server.membership.roll import Roll, read_roll
from mien_server.publishing.release_key import NEXT_KEY_FILE, PRIVATE_KEY_FILE, former_keys

LITTLE_DISK_BYTES: Final = 2 * 1000**3
NO_DISK_BYTES: Final = 200 * 1000**2
_TIME_ERROR: Final = 5
"""What adjtimex(2) returns where the clock is not synchronised."""


def examine(folder: ServerFolder, now: dt.datetime) -> Iterable[Finding]:
    """Every finding, in the order in which to mend them."""
    yield from _versions()
    yield _disk(folder)
    yield _secrecy(folder)
    yield from _certificates(folder, now)
    yield from _names(folder)
    yield _clock(folder, now)
    running = _running(folder)
    yield from _doors(folder, running)
    yield from _sites(folder, running, now)
    yield _releases(folder)
    yield history_finding(folder, running, now)


def _versions() -> Iterable[Finding]:
    here = f"mien {MIEN_VERSION}, Flower {metadata.version('flwr')}"
    wanted = next(
        (
            found[1]
            for line in metadata.requires("mien") or ()
            if (found := re.match(r"flwr==([\w.]+)", line.replace(" ", "")))
        ),
        None,
    )
    if wanted is not None and wanted != metadata.version("flwr"):
        yield fault(
            "versions",
            f"{here}, and this Mien needs {wanted}",
            f"pip install 'mien[server]' 'flwr=={wanted}'",
        )
    else:
        yield ok("versions", here)


def _disk(folder: ServerFolder) -> Finding:
    free = shutil.disk_usage(folder.path).free
    said = f"{free / 1e9:.1f} GB free for {folder.path}"
    remedy = f"free some space; old models in {folder.models} take most"
    if free < NO_DISK_BYTES:
        return fault("disk", said, remedy)
    return warning("disk", said, remedy) if free < LITTLE_DISK_BYTES else ok("disk", said)


def _secrecy(folder: ServerFolder) -> Finding:
    """Files that nobody else may read."""
    keys = [folder.tls / name for name in ("ca.key", "server.key", PRIVATE_KEY_FILE, NEXT_KEY_FILE)]
    private = [folder.tls, folder.state, *keys]
    loose = [str(path) for path in private if path.exists() and path.stat().st_mode & 0o077]
    if loose:
        return fault(
            "private files", f"others can read {', '.join(loose)}", f"chmod go-rwx {' '.join(loose)}"
        )
    return ok("private files", "readable by their owner only")


def _certificates(folder: ServerFolder, now: dt.datetime) -> Iterable[Finding]:
    try:
        check_certificates(folder.tls, now)
        soon = ending_soon(folder.tls, now)
    except TrustError as error:
        found, _, remedy = str(error).partition(". ")
        yield fault("certificate", found, remedy or f"mien server init {folder.path} --renew")
        return
    for file, end, remedy in soon:
        yield warning("certificate", f"{file} {days_left(end, now)}", remedy)
    if not soon:
        end = read_certificate(folder.tls / "server.crt").not_valid_after_utc
        yield ok("certificate", f"signed by this server's authority, {days_left(end, now)}")


def _names(folder: ServerFolder) -> Iterable[Finding]:
    settings = folder.settings
    wanted = [host for host in settings.hosts if "*" not in host]
    with suppress(MienError):  # reported under `certificate`
        dns, addresses = certificate_names(folder)
        lacking = [*(set(settings.hosts) - set(dns)), *(set(settings.ips) - set(addresses))]
        if lacking:
            yield fault(
                "host names",
                f"the certificate is not for {', '.join(sorted(lacking))}",
                f"mien server init {folder.path} --renew",
            )
            return
    unknown = [host for host in wanted if not _resolves(host)]
    if unknown:
        yield warning(
            "host names",
            f"this machine's name service does not know {', '.join(unknown)}",
            "enter it there, or in every lab machine's /etc/hosts; labs try with: mien agent doctor",
        )
    elif not wanted and not settings.ips:
        yield warning(
            "host names",
            f"agents can only use this machine's own name, {socket.gethostname()}",
            f"add the name they use: mien server init {folder.path} --renew --host NAME",
        )
    else:
        yield ok("host names", f"{', '.join([*wanted, *settings.ips])}, in the certificate")


def _resolves(host: str) -> bool:
    try:
        return bool(socket.getaddrinfo(host, None))
    except (OSError, UnicodeError):
        return False


def _clock(folder: ServerFolder, now: dt.datetime) -> Finding:
    remedy = "set the right time and keep it: timedatectl set-ntp true"
    written = dt.datetime.fromtimestamp((folder.path / "server.toml").stat().st_mtime, dt.UTC)
    if written - now > dt.timedelta(minutes=5):
        return fault("clock", f"it says {now:%Y-%m-%d %H:%M} UTC, before this folder was written", remedy)
    said = f"{now:%Y-%m-%d %H:%M:%S} UTC"
    try:
        # An empty request (modes 0): the kernel only tells how the clock stands.
        state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.create_string_buffer(512))
    except (OSError, AttributeError):
        return ok("clock", said)
    if state == _TIME_ERROR:
        return warning("clock", f"{said}, and nothing keeps it in time", remedy)
    return ok("clock", said)


def _running(folder: ServerFolder) -> bool:
    try:
        check_health(folder)
    except MienError:
        return False
    return True


def _doors(folder: ServerFolder, running: bool) -> Iterable[Finding]:
    settings = folder.settings
    if running:
        yield ok("server", f"runs, agents at port {settings.port}")
    else:
        yield fault("server", _reason(lambda: check_health(folder)), f"mien server up --dir {folder.path}")
    if settings.listen in (LOOPBACK, "::1"):
        yield warning(
            "listening",
            "only this machine can connect",
            f'set listen = "0.0.0.0" in {folder.path / "server.toml"} and start `up` again',
        )
    if not settings.enrol_port:
        yield warning(
            "enrolment port", "switched off, sites are enrolled by file only", "set enrol_port in server.toml"
        )
    else:
        yield _listener(folder, "enrolment port", settings.enrol_port, check_door)
    if settings.releases_port:
        yield _listener(folder, "releases port", settings.releases_port, check_releases)
    if settings.dashboard_port:
        yield _listener(folder, "dashboard port", settings.dashboard_port, check_dashboard)


def _listener(
    folder: ServerFolder, check: str, port: int, attempt: Callable[[ServerFolder], None]
) -> Finding:
    try:
        attempt(folder)
    except MienError as error:
        return fault(check, str(error), f"mien server up --dir {folder.path}")
    return ok(check, f"answers at port {port}")


def _reason(attempt: Callable[[], None]) -> str:
    try:
        attempt()
    except MienError as error:
        return str(error).partition(". Start it")[0]
    return "it answers now; look again"


def _sites(folder: ServerFolder, running: bool, now: dt.datetime) -> Iterable[Finding]:
    try:
        roll = read_roll(folder)
    except MienError as error:
        yield fault("enrolment", str(error).partition(". ")[0], "put sites.json back from a copy")
        return
    revoked = len(roll.sites) - len(roll.enrolled)
    said = f"{len(roll.enrolled)} enrolled, {revoked} revoked"
    if not roll.enrolled:
        yield warning("enrolment", said, "let a site in: mien server invite --name lab-1")
    else:
        yield _registration(folder, roll, said) if running else ok("enrolment", said)
    old = [
        site.name
        for site in roll.enrolled
        if site.key_since is not None and ends_soon(key_end(site.key_since), now)
    ]
    if old:
        yield warning(
            "keys", f"two years old, or nearly: {', '.join(old)}", "at each site: mien agent rotate-key"
        )


def _registration(folder: ServerFolder, roll: Roll, said: str) -> Finding:
    """Whether the SuperLink knows exactly the enrolled keys."""
    from mien_server.control import Control  # seconds to load

    again = f"stop `up` and start it again: mien server up --dir {folder.path}"
    try:
        with Control(folder) as control:
            known = set(control.node_ids())
    except FederationError as error:
        return fault("enrolment", f"{said}; the server does not say whom it knows: {error}", again)
    enrolled = {public_key_pem(site) for site in roll.enrolled}
    if enrolled - known or known & {pem_of(key) for key in roll.refused_keys}:
        return fault("enrolment", f"{said}, and the server has not heard of it", again)
    if known - enrolled:
        return warning(
            "enrolment",
            f"{said}; the server knows {len(known - enrolled)} more, which take part in no run",
            "somebody with an account here registered them, or sites.json is an older copy: stop `up` and "
            f"move {folder.state / 'superlink.db'} away to forget them",
        )
    return ok("enrolment", said)


def _releases(folder: ServerFolder) -> Finding:
    """Whether the index of the releases is signed with the key that sites are given, and each is whole."""
    from mien_server.publishing.releases import check_release, list_releases

    key, public = folder.tls / PRIVATE_KEY_FILE, folder.tls / KEY_FILE
    if public.exists() and not key.exists():
        return fault("releases", f"{key} is gone, and sites trust no other", "put it back from a copy")
    if not (folder.releases / INDEX_FILE).exists():
        return ok("releases", "none yet")
    try:
        trusted = read_public_key(read_bounded(public, KEY_LIMIT_BYTES), public)
        index = verified_index(read_bounded(folder.releases / INDEX_FILE, INDEX_LIMIT_BYTES), trusted)
    except MienError as error:
        found = str(error).partition(". ")[0]
        return fault("releases", found, f"mien server releases --dir {folder.path}")
    try:
        for release in list_releases(folder):
            check_release(release.path, str(release.version), trusted, *former_keys(folder))
    except MienError as error:
        remedy = "put it back from a copy, and until then: mien server rollback to another one"
        return fault("releases", str(error).removesuffix("."), remedy)
    said = f"{len(index.releases)}, the latest {index.latest or 'none'}"
    return ok("releases", f"{said}, signed with the key {fingerprint(trusted)}")


def folder_of(path: Path) -> ServerFolder | Finding:
    """The opened folder, or why it cannot be."""
    from mien_server.folder import open_folder

    try:
        return open_folder(path)
    except MienError as error:
        return fault("folder", str(error), f"make one: mien server init {path}; or give it with --dir")
