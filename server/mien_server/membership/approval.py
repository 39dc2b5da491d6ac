"""Enrolment by file: a site's request becomes an enrolled site and the bundle that it joins with."""

import datetime as dt
from pathlib import Path

from mien_common.enrolment_files import SiteBundle, SiteRequest, read_enrolment_file
from mien_common.errors import SettingsError, TrustError
from mien_common.files import read_bounded
from mien_common.site_keys import is_signed
from mien_server.certificates import PEM_LIMIT_BYTES
from mien_server.folder import ServerFolder
from mien_server.membership.enrolment import enrol_key, key_of
from mien_server.membership.invites import check_host
from mien_server.membership.roll import Site, read_roll


def approve(
    folder: ServerFolder, request_file: Path, name: str | None, host: str, now: dt.datetime
) -> tuple[Site, SiteBundle]:
    """Enrol the site that wrote ``request_file``; the same request may be approved again for another bundle.

    Parameters
    ----------
    name : what the operator calls the site, where given; the request must say the same.
    host : name or address of this server for the bundle.

    Raises
    ------
    InputError, SettingsError, TrustError
        The file is no request, its signature or name does not hold, or name or key are taken.
    """
    check_host(folder, host)
    request = read_enrolment_file(
        SiteRequest, request_file, "The lab writes one with: mien agent request --name NAME --site DIR"
    )
    key = key_of(request.public_key)
    if key is None or not is_signed(
        key, request.signature, SiteRequest.statement(request.name, request.public_key)
    ):
        raise TrustError(
            f"{request_file} was changed after the site wrote it: its signature does not hold. Have the site "
            "write it again, and bring it another way."
        )
    if name is not None and name != request.name:
        raise SettingsError(
            f"{request_file} is of a site that calls itself {request.name!r}, not {name!r}. Approve it under "
            "that name, or have the lab write another request."
        )
    known = read_roll(folder).site(request.name)
    site = (
        known
        if known is not None and known.public_key == request.public_key
        else enrol_key(folder, request.public_key, request.name, now, str(request_file), how="approval")
    )
    bundle = SiteBundle(
        name=site.name,
        public_key=site.public_key,
        server=f"{f'[{host}]' if ':' in host else host}:{folder.settings.port}",
        enrol_port=folder.settings.enrol_port,
        releases_port=folder.settings.releases_port,
        authority=read_bounded(folder.ca_certificate, PEM_LIMIT_BYTES).decode(),
    )
    return site, bundle
