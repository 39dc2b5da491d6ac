"""Invitations: a name, a secret that is shown once, and an hour; whoever brings the secret is that site.

Enters: the operator's wish; a request that came in through the door. Leaves: an invitation to print; an
enrolled site. Kept: only the SHA-256 of the secret.
"""

import datetime as dt
import hmac
import logging
import socket
from typing import Final

from cryptography import x509

from mien_common.enrolment_messages import EnrolRequest
from mien_common.errors import EnrolmentRefusedError, SettingsError, TrustError
from mien_common.files import read_bounded
from mien_common.invitation import (
    FINGERPRINT_BYTES,
    Invitation,
    authority_digest,
    new_secret,
    secret_digest,
)
from mien_common.site_keys import is_signed
from mien_server.certificates import PEM_LIMIT_BYTES, read_certificate
from mien_server.folder import ServerFolder
from mien_server.membership.enrolment import check_name, key_of, with_key
from mien_server.membership.roll import Invite, Site, locked_roll
from mien_server.server_events import record_event

MOST_HOURS: Final = 24 * 7

log = logging.getLogger(__name__)


def invite(folder: ServerFolder, name: str, host: str, valid: dt.timedelta, now: dt.datetime) -> Invitation:
    """A new invitation for the site ``name``; one that was open for it is withdrawn.

    Parameters
    ----------
    host : name or address that the lab machine will use; the server's certificate must hold it.
    valid : how long the invitation may be used.

    Raises
    ------
    SettingsError
        The name cannot be a site's or is enrolled, enrolment over the network is off, or the certificate
        does not hold ``host``.
    """
    check_name(name)
    if not folder.settings.enrol_port:
        raise SettingsError(
            f"enrolment over the network is off (enrol_port = 0 in {folder.path / 'server.toml'}). Set a "
            "port and start `up` again, or enrol by file: mien server approve"
        )
    check_host(folder, host)
    secret = new_secret()
    with locked_roll(folder) as opened:
        taken = opened.roll.site(name)
        if taken is not None:
            raise SettingsError(
                f"a site named {name!r} is enrolled already (key {taken.fingerprint}). Choose another name; "
                f"for a machine that lost its key: mien server revoke {name}, then invite again."
            )
        made = Invite(name=name, secret_digest=secret_digest(secret), created=now, expires=now + valid)
        # Also a used one of this name: its site is not enrolled any more.
        others = tuple(kept for kept in opened.roll.invites if kept.name != name)
        opened.save(opened.roll.model_copy(update={"invites": (*others, made)}), now)
    record_event(folder, "invited", site=name)
    return Invitation(
        host=f"[{host}]" if ":" in host else host,
        port=folder.settings.enrol_port,
        fingerprint=authority_digest(read_bounded(folder.ca_certificate, PEM_LIMIT_BYTES))[
            :FINGERPRINT_BYTES
        ],
        secret=secret,
    )


def redeem(folder: ServerFolder, request: EnrolRequest, now: dt.datetime) -> Site | None:
    """Enrol the site that an invitation names, with the key that came with the secret.

    The same key may ask again while the invitation holds, since its answer may have been lost; another
    may not. None where the request is refused, whatever is wrong with it.

    Raises
    ------
    EnrolmentRefusedError
        The secret is right and the key or the name cannot be had; the invitation stays open.
    """
    secret = bytes.fromhex(request.secret)
    digest = secret_digest(secret)
    with locked_roll(folder) as opened:
        found = None
        for kept in opened.roll.invites:  # all of them, each in the same time
            if hmac.compare_digest(kept.secret_digest, digest):
                found = kept
        key = key_of(request.public_key)
        if found is None or key is None or not found.holds(now):
            return None
        if not is_signed(key, request.signature, EnrolRequest.statement(secret, request.public_key)):
            return None
        if found.used_by is not None:
            site = opened.roll.site(found.name)
            again = site is not None and site.public_key == found.used_by == request.public_key
            return site if again else None
        if request.name is not None and request.name != found.name:
            raise EnrolmentRefusedError(
                f"this invitation is for a site named {found.name!r}, and this one calls itself "
                f"{request.name!r}. Ask for an invitation of that name, or join with a new folder."
            )
        try:
            roll, site = with_key(opened.roll, request.public_key, found.name, now, "this site's folder")
        except (SettingsError, TrustError) as error:
            raise EnrolmentRefusedError(str(error)) from error
        used = found.model_copy(update={"used_by": request.public_key})
        others = tuple(kept for kept in roll.invites if kept != found)
        opened.save(roll.model_copy(update={"invites": (*others, used)}), now)
    record_event(folder, "enrolled", site=site.name, how="code")
    return site


def usual_host(folder: ServerFolder) -> str:
    """What to print when the operator gave no name or address: the first of the certificate's."""
    settings = folder.settings
    named = [host for host in settings.hosts if "*" not in host] + list(settings.ips)
    return named[0] if named else socket.gethostname().rstrip(".").lower()


def check_host(folder: ServerFolder, host: str) -> None:
    """Raise SettingsError unless the server's certificate holds ``host``: no site would trust it there."""
    dns, addresses = certificate_names(folder)
    parent = host.partition(".")[2]
    if host in addresses or host.lower() in dns or (parent and f"*.{parent}".lower() in dns):
        return
    option = "--ip" if ":" in host or host.replace(".", "").isdigit() else "--host"
    raise SettingsError(
        f"the server's certificate is not for {host}, so no site would trust it there. It is for "
        f"{', '.join([*dns, *addresses])}; add the name: "
        f"mien server init {folder.path} --renew {option} {host}"
    )


def certificate_names(folder: ServerFolder) -> tuple[list[str], list[str]]:
    """The host names and the addresses that the server's certificate holds.

    Raises
    ------
    TrustError
        It is missing, damaged, or holds none.
    """
    certificate = read_certificate(folder.tls / "server.crt")
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound as error:
        raise TrustError(
            f"the server's certificate names no host. Make a new one: mien server init {folder.path} --renew"
        ) from error
    addresses = [str(address) for address in names.get_values_for_type(x509.IPAddress)]
    return names.get_values_for_type(x509.DNSName), addresses
