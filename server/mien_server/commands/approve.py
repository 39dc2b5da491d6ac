"""``mien server approve``: enrolment by file, for a site that cannot reach the server yet."""

from pathlib import Path
from typing import Annotated

import typer

from .options import Dir


def approve(
    request: Annotated[
        Path, typer.Argument(metavar="REQUEST", help="The file that `mien agent request` wrote at the lab.")
    ],
    name: Annotated[
        str | None,
        typer.Option(help="The name you expect; refused where the request says another.", show_default=False),
    ] = None,
    host: Annotated[
        str | None,
        typer.Option(
            help="Name or address by which the lab machine will reach this server.",
            show_default="the first that `init` was given",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where to write the bundle.", show_default="NAME.bundle.json here")
    ] = None,
    folder: Dir = Path(),
) -> None:
    """Enrol a site from its request file, and write the bundle it joins with.

    Compare the key's fingerprint with what the lab reads out from `mien agent request`, and have the lab
    compare the authority's: neither file is secret, but somebody on the way could have exchanged it.
    """
    import datetime as dt

    from mien_common.enrolment_files import write_enrolment_file
    from mien_common.invitation import authority_fingerprint
    from mien_server.folder import open_folder
    from mien_server.membership.approval import approve as approve_site
    from mien_server.membership.invites import usual_host
    from mien_server.membership.registration import register_now

    opened = open_folder(folder)
    site, bundle = approve_site(opened, request, name, host or usual_host(opened), dt.datetime.now(dt.UTC))
    file = out or Path(f"{site.name}.bundle.json")
    write_enrolment_file(bundle, file)
    when = "it can join now" if register_now(opened) else "it can join once the server is up"
    print(f"enrolled {site.name}; {when}")
    print(f"key        {site.fingerprint}")
    print(f"authority  {authority_fingerprint(bundle.authority.encode())}")
    print(f"give {file} to the lab, which takes it with: mien agent accept {file.name} --site DIR")
