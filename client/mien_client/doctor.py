"""What may keep a site from taking part, looked at one by one, each with how to mend it.

Enters: the site's folder. Leaves: findings; to this site's own server: one signed question how the site
stands, which holds its public key and the time. Nothing is changed.
"""

import datetime as dt
import os
import shutil
import socket
import ssl
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Final

from mien_common.enrolment_messages import STANDING_PATH, StandingReply, StandingRequest
from mien_common.errors import FederationError, MienError, TrustError
from mien_common.findings import Finding, fault, ok, warning
from mien_common.site_keys import fingerprint, public_openssh, sign
from mien_common.validity import days_left, ends_soon
from mien_common.versions import MIEN_VERSION

from .face.confinement_record import confinement_report
from .key_rotation import door_of
from .site import Site, open_site
from .status import cuda_devices
from .tls import HANDSHAKE_S, ServerUnreachableError, check_server
from .trust import ends_of_trust

SKEW_WARNING_S: Final = 60.0
SKEW_FAULT_S: Final = 290.0
"""Flower's SuperLink refuses a signature that is more than 300 s old."""
LITTLE_DISK_BYTES: Final = 2 * 1000**3
NO_DISK_BYTES: Final = 200 * 1000**2


def examine(folder: Path) -> Iterable[Finding]:
    """Every finding, in the order in which to mend them."""
    try:
        site = open_site(folder)
    except MienError as error:
        found, _, remedy = str(error).partition(". ")
        yield fault(
            "site", found, f"{remedy or 'give the folder with --site'} Or ask the operator for a code."
        )
        return
    yield ok("site", f"{site.settings.name}, in {folder}")
    yield from _key(site)
    yield from _network(site)
    yield _camera()
    yield _device(site)
    yield _face_process()
    yield _disk(site)


def _key(site: Site) -> Iterable[Finding]:
    try:
        yield ok("key", fingerprint(public_openssh(site.private_key().public_key())))
    except TrustError as error:
        found, _, remedy = str(error).partition(". ")
        yield fault("key", found, remedy)
    for ending in ends_of_trust(site, dt.datetime.now(dt.UTC)):
        if ending.what != "certificate":  # that one is looked at on the spot, below
            yield warning(ending.what, ending.found, ending.remedy)


def _network(site: Site) -> Iterable[Finding]:
    """Each step stands on the one before; where one fails the rest cannot be told."""
    host, _, port = site.settings.server.rpartition(":")
    host = host.strip("[]")
    try:
        found = sorted(
            {str(entry[4][0]) for entry in socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)}
        )
    except (OSError, UnicodeError) as error:
        yield fault(
            "name resolution",
            f"this machine does not know {host} ({error})",
            f"ask the operator for the right name, put it into {site.folder}/site.toml, or into /etc/hosts",
        )
        return
    yield ok("name resolution", f"{host} is {', '.join(found)}")
    try:
        with socket.create_connection((host, int(port)), timeout=HANDSHAKE_S):
            pass
    except OSError as error:
        yield fault(
            "port",
            f"nothing answers at {site.settings.server} ({error})",
            "ask the operator whether `mien server up` runs, and have the firewalls let it through",
        )
        return
    yield ok("port", f"{site.settings.server} answers")
    skew = _skew(site)
    yield from _tls(site, skew)
    yield _clock(site, skew)
    yield from _standing(site, skew)


def _skew(site: Site) -> float | str:
    """Seconds this machine's clock is ahead of the server's; or why that is not known."""
    try:
        there = door_of(site).server_time(check_time=False)
    except MienError as error:
        return str(error)
    return (dt.datetime.now(dt.UTC) - there).total_seconds()


def _tls(site: Site, skew: float | str) -> Iterable[Finding]:
    try:
        ends = check_server(site.settings.server, site.root_certificate())
    except ServerUnreachableError as error:
        yield fault("TLS chain", str(error), "ask the operator whether this is the agents' port")
        return
    except TrustError as error:
        cause = error.__cause__
        code = cause.verify_code if isinstance(cause, ssl.SSLCertVerificationError) else 0
        said, _, remedy = str(error).removeprefix(f"will not join {site.settings.server}: ").partition(". ")
        if code in (62, 64):
            yield ok("TLS chain", "from the authority in ca.crt")
            yield fault("host name", said, remedy)
        elif code in (9, 10) and isinstance(skew, float) and abs(skew) > SKEW_FAULT_S:
            yield fault("TLS chain", f"{said}, by this machine's clock, which is wrong", "see `clock` below")
        else:
            yield fault("TLS chain", said or str(error), remedy)
        return
    now = dt.datetime.now(dt.UTC)
    if ends_soon(ends, now):
        yield warning(
            "TLS chain",
            f"the server's certificate {days_left(ends, now)}",
            "tell its operator: mien server init DIR --renew",
        )
    else:
        yield ok("TLS chain", f"from the authority in ca.crt, {days_left(ends, now)}")
    yield ok("host name", f"the certificate is for {site.settings.server.rpartition(':')[0]}")


def _clock(site: Site, skew: float | str) -> Finding:
    if isinstance(skew, str):
        return warning(
            "clock",
            f"cannot be compared with the server's: {skew.partition('. ')[0]}",
            f"have port {site.settings.enrol_port} let through; enrol_port in site.toml must be the server's",
        )
    said = f"{abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} the server's"
    remedy = "set the right time and keep it (timedatectl set-ntp true), or tell the operator if it is theirs"
    if abs(skew) > SKEW_FAULT_S:
        return fault("clock", said, remedy)
    return warning("clock", said, remedy) if abs(skew) > SKEW_WARNING_S else ok("clock", said)


def _standing(site: Site, skew: float | str) -> Iterable[Finding]:
    """What the server says of this site; the question bears the server's own time, right or not."""
    if isinstance(skew, str):
        yield warning("enrolment", "cannot be asked for, see `clock`", "try it: mien agent join")
        return
    try:
        key = site.private_key()
        public = public_openssh(key.public_key())
        there = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=skew)
        request = StandingRequest(
            public_key=public, time=there, signature=sign(key, StandingRequest.statement(public, there))
        )
        found = door_of(site).ask(STANDING_PATH, request, StandingReply)
    except (TrustError, FederationError) as error:
        if "does not accept" in str(error):
            said, remedy = (
                "the server does not know this site's key",
                "ask the operator for a code: mien agent join CODE",
            )
            yield fault("enrolment", said, remedy)
        else:
            said, _, remedy = str(error).partition(". ")
            yield fault("enrolment", said, remedy or "mend the lines above first")
        return
    if found.state == "revoked":
        yield fault(
            "enrolment",
            "the operator revoked this site's key",
            "ask the operator for a code, and: mien agent join CODE --new-key",
        )
    elif found.name != site.settings.name:
        yield fault(
            "enrolment",
            f"the server calls this site {found.name}, and site.toml says {site.settings.name}",
            f'write name = "{found.name}" into {site.folder / "site.toml"}',
        )
    else:
        yield ok("enrolment", f"enrolled as {found.name}")
    yield _versions(found)


def _versions(server: StandingReply) -> Finding:
    here, there = f"mien {MIEN_VERSION}", f"mien {server.mien_version}"
    flower = metadata.version("flwr")
    if (MIEN_VERSION, flower) != (server.mien_version, server.flwr_version):
        return warning(
            "versions",
            f"here {here} with Flower {flower}, at the server {there} with Flower {server.flwr_version}",
            "install the same on both sides",
        )
    return ok("versions", f"{here} and Flower {flower}, like the server")


def _camera() -> Finding:
    found = sorted(Path("/dev").glob("video[0-9]*"))
    remedy = "plug one in for `calibrate` and `watch`; films need none"
    if not found:
        return warning("camera", "none on this machine", remedy)
    closed = [str(path) for path in found if not os.access(path, os.R_OK | os.W_OK)]
    if len(closed) == len(found):
        return warning(
            "camera",
            f"{', '.join(closed)} may not be opened by this user",
            "join the group that owns it: sudo usermod -aG video $USER, then log in again",
        )
    return ok("camera", ", ".join(str(path) for path in found if str(path) not in closed))


def _device(site: Site) -> Finding:
    wanted, count = site.settings.device, cuda_devices()
    there = f"{count} CUDA device{'s' * (count != 1)}" if count else "no CUDA device that PyTorch could use"
    if wanted == "cuda" and not count:
        return fault(
            "CUDA",
            f"site.toml demands it, and there is {there}",
            'install the driver and a CUDA build of PyTorch, or write device = "auto" into site.toml',
        )
    return ok(
        "CUDA",
        f"{there}; device = {wanted}, so training is on {'CUDA' if count and wanted != 'cpu' else 'the CPU'}",
    )


def _face_process() -> Finding:
    report = confinement_report()
    if report.possible:
        return ok("face process", str(report))
    return fault(
        "face process", str(report), "use Linux with seccomp; `ingest` and `watch` refuse faces without it"
    )


def _disk(site: Site) -> Finding:
    free = shutil.disk_usage(site.folder).free
    said = f"{free / 1e9:.1f} GB free for {site.folder}"
    remedy = f"free some space, or remove sessions from {site.sessions}"
    if free < NO_DISK_BYTES:
        return fault("disk", said, remedy)
    return warning("disk", said, remedy) if free < LITTLE_DISK_BYTES else ok("disk", said)
