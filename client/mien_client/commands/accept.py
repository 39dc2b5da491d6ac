"""``mien agent accept``: take the bundle that the operator made of a request."""

from pathlib import Path
from typing import Annotated

import typer

from mien_common.errors import TrustError

from .options import DeviceOption, LagOption, SiteOption


def accept(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="The file from `mien server approve`.")],
    site: SiteOption = Path(),
    authority: Annotated[
        str | None,
        typer.Option(
            metavar="FINGERPRINT",
            help="The authority's fingerprint as the operator reads it out; another is refused.",
            show_default=False,
        ),
    ] = None,
    lag_s: LagOption = None,
    device: DeviceOption = None,
) -> None:
    """Become the site that the operator approved; then `mien agent join`."""
    from mien_common.enrolment_files import SiteBundle, read_enrolment_file
    from mien_common.invitation import authority_fingerprint

    from ..joining import accept_bundle

    found = read_enrolment_file(
        SiteBundle, bundle, "The operator writes one with: mien server approve REQUEST"
    )
    fingerprint = authority_fingerprint(found.authority.encode())
    if authority is not None and _bare(authority) != _bare(fingerprint):
        raise TrustError(
            f"{bundle} holds another authority, {fingerprint}: it was exchanged on its way, or the operator "
            "has several servers. Nothing was changed; ask for the bundle again, by another way."
        )
    given = {name: value for name, value in {"lag_s": lag_s, "device": device}.items() if value is not None}
    made = accept_bundle(site, found, str(bundle), **given)
    print(f"site {made.settings.name} made in {made.folder}, for the server {made.settings.server}")
    print(f"authority  {fingerprint}")
    if authority is None:
        print("compare that line with what the operator sees: whoever has that authority is the server")
    print(f"join with: mien agent join --site {made.folder}")


def _bare(fingerprint: str) -> str:
    return fingerprint.upper().removeprefix("SHA256").replace(":", "").replace(" ", "").strip()
