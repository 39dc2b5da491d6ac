"""``mien server revoke``: a site is refused from its next message on."""

from pathlib import Path
from typing import Annotated

import typer

from .options import Dir


def revoke(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The site, or an invitation's name.")],
    folder: Dir = Path(),
) -> None:
    """Refuse a site for good, from its next message on, and withdraw its open invitation.

    Its key stays refused; the lab can come back with a new key and a new invitation (`mien agent join CODE
    --new-key`). Models it has contributed to stay as they are.
    """
    import datetime as dt

    from mien_server.folder import open_folder
    from mien_server.membership.enrolment import revoke as revoke_site
    from mien_server.membership.registration import register_now

    opened = open_folder(folder)
    site, withdrawn = revoke_site(opened, name, dt.datetime.now(dt.UTC))
    if site is not None:
        when = (
            "from its next message on" if register_now(opened) else "no server runs; the next `up` refuses it"
        )
        print(f"revoked {site.name} {site.fingerprint}: {when}")
    if withdrawn:
        print(f"withdrew {withdrawn} invitation{'s' * (withdrawn > 1)} for {name}")
