"""How a site comes to be enrolled: with a code, or with a request file and a bundle.

Enters: what the operator gave. Leaves: the public key, with a proof that this machine holds the private one.
A folder becomes a site last of all, so that whatever breaks in between is tried again from the start.
"""

from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import ValidationError

from mien_common.enrolment_files import SiteBundle, SiteRequest, write_enrolment_file
from mien_common.enrolment_messages import ENROL_PATH, EnrolReply, EnrolRequest
from mien_common.errors import SettingsError, TrustError
from mien_common.files import is_there
from mien_common.invitation import Invitation, secret_digest
from mien_common.release import read_public_key
from mien_common.site_keys import fingerprint, public_openssh, sign

from .door import invited_door
from .keys import adopt_pending_key, forget_pending_key, kept_pending_key, pending_key
from .site import (
    SETTINGS_FILE,
    Site,
    SiteSettings,
    finish_site,
    first_problem,
    make_folders,
    only_agent,
    open_site,
)

_REQUEST: Final = "request"
_OWN_FILES: Final = {"keys", "state", "ca.crt", "release.pub", "release-former.pub", "lost+found"}
"""What an attempt that broke off may have left."""


def join_with_code(folder: Path, invitation: Invitation, new_key: bool = False, **chosen: Any) -> Site:
    """Enrol this machine's site with an invitation; make its folder where there is none.

    Parameters
    ----------
    new_key : a site that is there already gets a new key; else it keeps its own.
    chosen : settings for a new site, as in ``site.toml``.

    Raises
    ------
    SettingsError
        The folder holds something else, or is the site of another name.
    TrustError
        Somebody else answers at the code's address, or the server refuses.
    ServerUnreachableError, FederationError
        No server answers, or it is not ready.
    """
    existing = _existing(folder)
    site = existing or _unborn(folder, **chosen)
    make_folders(site)
    with only_agent(site):
        door = invited_door(invitation)
        fresh = existing is None or new_key
        # The same code gets the same key again: its first answer may have been lost.
        key = pending_key(site, secret_digest(invitation.secret)) if fresh else site.private_key()
        public = public_openssh(key.public_key())
        request = EnrolRequest(
            secret=invitation.secret.hex(),
            public_key=public,
            name=existing.settings.name if existing else None,
            signature=sign(key, EnrolRequest.statement(invitation.secret, public)),
        )
        reply = door.ask(ENROL_PATH, request, EnrolReply)
        signer = None
        # A site that trusts a key already keeps it: another one is for people to accept (`mien agent fetch`).
        if reply.release_key is not None and (existing is None or not is_there(site.release_key_file)):
            signer = read_public_key(reply.release_key.encode(), site.release_key_file)
        changes = {
            "name": reply.name,
            "server": f"{invitation.host}:{reply.port}",
            "enrol_port": invitation.port,
            **_port_of_releases(reply),
        }
        return _born(site, changes, door.authority, fresh, signer)


def write_request(folder: Path, name: str, out: Path) -> str:
    """Write the request file of a site that is to be made in ``folder``; its key's fingerprint.

    A site that is there already asks with its own name and key.

    Raises
    ------
    SettingsError
        The name cannot be a site's, or the folder holds something else or a site of another name.
    """
    existing = _existing(folder)
    if existing is not None and existing.settings.name != name:
        raise SettingsError(
            f"{folder} is the site {existing.settings.name!r}, not {name!r}. Give that "
            "name, or another folder."
        )
    site = existing or _unborn(folder, name=name)
    make_folders(site)
    key = existing.private_key() if existing else pending_key(site, f"{_REQUEST} {name}")
    public = public_openssh(key.public_key())
    signature = sign(key, SiteRequest.statement(name, public))
    write_enrolment_file(SiteRequest(name=name, public_key=public, signature=signature), out)
    return fingerprint(public)


def accept_bundle(folder: Path, bundle: SiteBundle, source: str, **chosen: Any) -> Site:
    """Make the site that an operator approved; ``source`` names the bundle's file.

    Raises
    ------
    TrustError
        It is for another site's key.
    """
    existing = _existing(folder)
    site = existing or _unborn(folder, **chosen)
    key = existing.private_key() if existing else kept_pending_key(site, f"{_REQUEST} {bundle.name}")
    if key is None or public_openssh(key.public_key()) != bundle.public_key:
        raise TrustError(
            f"{source} is for another site, or for an older request of this one: its key is not the one "
            f"in {folder}. Write a request (mien agent request) and have it approved, or give the folder "
            "that it was made in with --site."
        )
    make_folders(site)
    changes: dict[str, Any] = {
        "name": bundle.name,
        "server": bundle.server,
        **_port_of_releases(bundle),
    }
    if bundle.enrol_port:
        changes["enrol_port"] = bundle.enrol_port
    with only_agent(site):
        return _born(site, changes, bundle.authority.encode(), existing is None)


def _port_of_releases(told: EnrolReply | SiteBundle) -> dict[str, int]:
    """A server of before this was told says nothing; what the site has then stays."""
    return {} if told.releases_port is None else {"releases_port": told.releases_port}


def _existing(folder: Path) -> Site | None:
    return open_site(folder) if is_there(folder / SETTINGS_FILE) else None


def _unborn(folder: Path, **chosen: Any) -> Site:
    """A site that has no settings yet; its name and server are the operator's to say."""
    if is_there(folder):
        if not folder.is_dir():
            raise SettingsError(f"{folder} is a file. Give a folder for the site: --site DIR")
        others = sorted({path.name for path in folder.iterdir()} - _OWN_FILES - {"sessions"})
        if others:
            raise SettingsError(
                f"{folder} is no site, and not empty ({others[0]} is in it). Give a new folder: --site DIR"
            )
    return Site(folder, _settings({"name": "unnamed", "server": "unknown:1", **chosen}))


def _born(
    site: Site,
    changes: dict[str, Any],
    authority: bytes,
    fresh_key: bool,
    release_key: Ed25519PublicKey | None = None,
) -> Site:
    """The site with what the operator said of it; its settings are written last."""
    named = Site(site.folder, _settings({**site.settings.model_dump(), **changes}))
    if fresh_key:
        adopt_pending_key(named)
    finish_site(named, authority, release_key)
    if fresh_key:
        forget_pending_key(named)
    return named


def _settings(values: dict[str, Any]) -> SiteSettings:
    try:
        return SiteSettings.model_validate(values)
    except ValidationError as error:
        raise SettingsError(first_problem(error)) from error
