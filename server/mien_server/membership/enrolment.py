"""Who may join: sites are enrolled by their public keys, change them, and are revoked.

Enters: a site's public key. Leaves: the roll (:mod:`mien_server.membership.roll`), and the registration of
every key with the running SuperLink, which refuses all others.
"""

import datetime as dt
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from mien_common.enrolment_messages import RotateRequest
from mien_common.errors import EnrolmentRefusedError, InputError, SettingsError, TrustError
from mien_common.files import read_bounded
from mien_common.site_keys import KEY_LIMIT_BYTES, fingerprint, is_signed, public_openssh, read_public_key
from mien_common.site_name import SITE_NAME_PATTERN
from mien_server.folder import ServerFolder
from mien_server.membership.roll import Roll, Site, locked_roll, read_roll
from mien_server.server_events import record_event

if TYPE_CHECKING:
    from mien_server.control import Control  # it takes seconds to load, and the door should not wait for it

BETWEEN_KEYS: Final = dt.timedelta(hours=1)
"""Every former key is kept and stays refused: a site that changes it all day must not fill the roll."""

__all__ = [
    "Site",
    "check_name",
    "enrol",
    "enrol_key",
    "key_of",
    "pem_of",
    "public_key_pem",
    "read_sites",
    "register",
    "revoke",
    "rotate",
    "with_key",
]


def read_sites(folder: ServerFolder) -> tuple[Site, ...]:
    """Every site that may join, by name.

    Raises
    ------
    SettingsError
        ``sites.json`` is damaged.
    """
    return read_roll(folder).enrolled


def enrol(folder: ServerFolder, public_key_file: Path, name: str) -> Site:
    """Enrol the site ``name`` with the key in ``public_key_file``; it may join from the next registration on.

    Raises
    ------
    SettingsError
        The name cannot be a site's, or is taken.
    TrustError
        The file holds no public key that sites use, holds a private one, or a key enrolled already.
    """
    check_name(name)
    try:
        content = read_bounded(public_key_file, KEY_LIMIT_BYTES)
    except InputError as error:
        raise TrustError(f"{error}. Give the site's public key, keys/site.pub in its folder.") from error
    key = read_public_key(content, str(public_key_file))
    _check_comment(public_key_file, name)
    return enrol_key(folder, public_openssh(key), name, dt.datetime.now(dt.UTC), str(public_key_file))


def enrol_key(
    folder: ServerFolder,
    public_key: str,
    name: str,
    now: dt.datetime,
    source: str,
    how: Literal["key", "approval"] = "key",
) -> Site:
    """Enrol the site ``name`` with a checked key in OpenSSH's form; ``source`` says where it came from.

    Raises
    ------
    SettingsError
        The name cannot be a site's, or is taken.
    TrustError
        The key is enrolled already, or was revoked.
    """
    check_name(name)
    with locked_roll(folder) as opened:
        roll, site = with_key(opened.roll, public_key, name, now, source)
        opened.save(roll.without_invites(name), now)
    record_event(folder, "enrolled", site=name, how=how)
    return site


def with_key(roll: Roll, public_key: str, name: str, now: dt.datetime, source: str) -> tuple[Roll, Site]:
    """The roll with the site ``name`` added; see :func:`enrol_key`."""
    taken = roll.site(name)
    if taken is not None:
        raise SettingsError(
            f"a site named {name!r} is enrolled already (key {taken.fingerprint}). Choose another name, or "
            f"revoke it first: mien server revoke {name}"
        )
    holder = roll.holder(public_key)
    if holder is not None and holder.public_key != public_key:
        raise TrustError(
            f"{source}: this is a former key of {holder.name!r}, which stays refused. The site needs another"
        )
    if holder is not None and holder.revoked is not None:
        raise TrustError(
            f"{source}: this key was revoked on {holder.revoked:%Y-%m-%d} and stays refused. The site "
            "needs a new key: mien agent join CODE --new-key"
        )
    if holder is not None:
        raise TrustError(
            f"the key in {source} is enrolled already, as {holder.name!r}. Every site needs a key of "
            "its own: mien agent init"
        )
    site = Site(name=name, public_key=public_key, fingerprint=fingerprint(public_key), key_since=now)
    return roll.with_site(site), site


def revoke(folder: ServerFolder, name: str, now: dt.datetime) -> tuple[Site | None, int]:
    """Refuse the site ``name`` from the next registration on, and withdraw its open invitations.

    Returns
    -------
    The site that is refused now, None where only an invitation was open; how many invitations were withdrawn.

    Raises
    ------
    SettingsError
        There is neither a site nor an open invitation of this name.
    """
    with locked_roll(folder) as opened:
        roll = opened.roll.without_invites(name)
        withdrawn = len(opened.roll.invites) - len(roll.invites)
        site = roll.site(name)
        if site is None and not withdrawn:
            raise SettingsError(
                f"no site named {name!r} is enrolled or invited. See them all: mien server sites"
            )
        if site is not None:
            site = site.model_copy(update={"revoked": now})
            # Its used invitation must not let the key back in.
            invites = tuple(invite for invite in roll.invites if invite.name != name)
            sites = tuple(kept for kept in roll.sites if kept.name != name or kept.revoked is not None)
            roll = Roll(sites=(*sites, site), invites=invites)
        opened.save(roll, now)
    record_event(folder, "revoked", site=name, how="key" if site is not None else "invitation")
    return site, withdrawn


def rotate(folder: ServerFolder, request: RotateRequest, now: dt.datetime) -> Site | None:
    """Give a site its new key, asked for with the old one; safe to repeat. None where that is not allowed.

    Raises
    ------
    EnrolmentRefusedError
        The new key belongs to somebody already, or was revoked; or the site changed its key just before.
    """
    statement = RotateRequest.statement(request.old_key, request.new_key)
    with locked_roll(folder) as opened:
        roll = opened.roll
        done = next((site for site in roll.enrolled if site.public_key == request.new_key), None)
        site = done or next((site for site in roll.enrolled if site.public_key == request.old_key), None)
        if site is None or (done is not None and request.old_key not in site.former_keys[-1:]):
            return None
        old, new = key_of(request.old_key), key_of(request.new_key)
        if old is None or new is None or not is_signed(old, request.old_signature, statement):
            return None
        if not is_signed(new, request.new_signature, statement):
            return None
        if done is not None:
            return done
        if (
            site.former_keys
            and site.key_since is not None
            and dt.timedelta() <= now - site.key_since < BETWEEN_KEYS
        ):
            raise EnrolmentRefusedError(
                "this site changed its key less than an hour ago. Try again later: mien agent rotate-key"
            )
        if roll.holder(request.new_key) is not None:
            raise EnrolmentRefusedError(
                "the new key is known here already. Remove keys/next.key and try again: mien agent rotate-key"
            )
        site = site.model_copy(
            update={
                "public_key": request.new_key,
                "fingerprint": fingerprint(request.new_key),
                "former_keys": (*site.former_keys, request.old_key),
                "key_since": now,
                "node_id": None,
            }
        )
        opened.save(roll.with_site(site), now)
    record_event(folder, "key_rotated", site=site.name)
    return site


def register(folder: ServerFolder, control: "Control") -> list[Site]:
    """Make the running SuperLink know every enrolled key and none that is refused; the sites new to it.

    Safe to repeat, and right also when Flower's database was lost or the node ids changed. From here on the
    SuperLink refuses every message of a revoked or changed key.
    """
    with locked_roll(folder) as opened:
        known = control.node_ids()
        for refused in opened.roll.refused_keys:
            node_id = known.get(pem_of(refused))
            if node_id is not None:
                control.unregister_site(node_id)
        new, roll = [], opened.roll
        for site in opened.roll.enrolled:
            node = known.get(public_key_pem(site))
            if node is None:
                node = control.register_site(site.name, public_key_pem(site))
                new.append(site)
            roll = roll.with_site(site.model_copy(update={"node_id": node}))
        opened.save(roll, dt.datetime.now(dt.UTC))
    return new


def public_key_pem(site: Site) -> bytes:
    """The site's key as Flower keeps it."""
    return pem_of(site.public_key)


def pem_of(public_key: str) -> bytes:
    """A key in OpenSSH's form as Flower keeps it."""
    key = serialization.load_ssh_public_key(public_key.encode())
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def check_name(name: str) -> None:
    """Raise SettingsError unless a site may be called ``name``."""
    if not re.fullmatch(SITE_NAME_PATTERN, name):
        raise SettingsError(
            f"{name!r} cannot be a site's name: use at most 32 lower-case letters, "
            "digits and inner dashes, like lab-2."
        )


def key_of(public_key: str) -> ec.EllipticCurvePublicKey | None:
    """A key that came over the network; None where it is none, or not written in the one way we keep it."""
    try:
        key = read_public_key(public_key.encode(), "the key")
    except TrustError:
        return None
    return key if public_openssh(key) == public_key else None


def _check_comment(public_key_file: Path, name: str) -> None:
    """A site writes its own name behind its key; under another, all it sends would be rejected."""
    words = public_key_file.read_text(errors="replace").split()
    if len(words) == 3 and words[2] != name and re.fullmatch(SITE_NAME_PATTERN, words[2]):
        raise SettingsError(
            f"{public_key_file} is the key of a site that calls itself {words[2]!r}, not {name!r}. Enrol it "
            "under that name, or have the site made anew: mien agent init --name"
        )
