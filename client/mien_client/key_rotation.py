"""A site changes its key: the old key signs for the new one, and the server knows the new one from then on.

Leaves: both public keys and both signatures. Never leaves: a private key.
"""

from mien_common.enrolment_messages import ROTATE_PATH, RotateReply, RotateRequest
from mien_common.site_keys import fingerprint, public_openssh, sign

from .door import Door
from .keys import adopt_pending_key, forget_pending_key, pending_key
from .site import Site, only_agent


def rotate_key(site: Site) -> tuple[str, str]:
    """Change the site's key; the fingerprints of the old and of the new one.

    Where anything breaks off, the old key stays the site's, and the next try asks for the same new one.

    Raises
    ------
    SettingsError
        An agent is running on the folder, with the old key.
    TrustError
        The server does not hold, or refuses.
    FederationError
        No server answers, or it is not ready.
    """
    with only_agent(site):
        old = site.private_key()
        old_public = public_openssh(old.public_key())
        new = pending_key(site, f"instead of {fingerprint(old_public)}")
        new_public = public_openssh(new.public_key())
        statement = RotateRequest.statement(old_public, new_public)
        request = RotateRequest(
            old_key=old_public,
            new_key=new_public,
            old_signature=sign(old, statement),
            new_signature=sign(new, statement),
        )
        door_of(site).ask(ROTATE_PATH, request, RotateReply)
        adopt_pending_key(site)
        forget_pending_key(site)
    return fingerprint(old_public), fingerprint(new_public)


def door_of(site: Site) -> Door:
    """The enrolment door of the server that this site joins."""
    host = site.settings.server.rpartition(":")[0]
    return Door(host, site.settings.enrol_port, site.root_certificate())
