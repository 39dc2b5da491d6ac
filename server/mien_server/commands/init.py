"""``mien server init``: a folder with settings and certificates."""

from pathlib import Path
from typing import Annotated

import typer


def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder to make.")],
    host: Annotated[
        list[str] | None,
        typer.Option(
            help="Name by which agents reach this server; give it once per name. localhost and this "
            "machine's own name are always in the certificate."
        ),
    ] = None,
    ip: Annotated[
        list[str] | None,
        typer.Option(
            help="Address by which agents reach this server; give it once per address. 127.0.0.1 and "
            "::1 are always in the certificate."
        ),
    ] = None,
    listen: Annotated[
        str | None,
        typer.Option(
            help="Address to accept agents on; 0.0.0.0 means every one of this machine.",
            show_default="0.0.0.0",  # noqa: S104 - a word in the help
        ),
    ] = None,
    port: Annotated[int | None, typer.Option(help="Port for agents.", show_default="9092")] = None,
    control_port: Annotated[
        int | None,
        typer.Option(help="Port for these commands, on 127.0.0.1 only.", show_default="9093"),
    ] = None,
    enrol_port: Annotated[
        int | None,
        typer.Option(
            help="Port where invited sites are enrolled; 0 for none, then only by file.", show_default="9094"
        ),
    ] = None,
    releases_port: Annotated[
        int | None,
        typer.Option(help="Port that sites fetch releases from; 0 for none.", show_default="9095"),
    ] = None,
    dashboard_port: Annotated[
        int | None,
        typer.Option(help="Port of the operator's page and JSON API; 0 for none.", show_default="9096"),
    ] = None,
    days: Annotated[
        int, typer.Option(min=1, max=3650, help="Days until the server certificate expires.")
    ] = 365,
    renew: Annotated[
        bool,
        typer.Option(
            "--renew",
            help="Give an existing folder a new server certificate, the names given here added; "
            "its sites need nothing new, and a server that runs takes it within seconds.",
        ),
    ] = False,
) -> None:
    """Make a server folder: settings, a certificate authority, a server certificate."""
    import datetime as dt

    from mien_common.release import KEY_FILE
    from mien_server.certificates import issue_server_certificate, make_authority
    from mien_server.folder import create_folder, open_folder, parse_settings, save_settings
    from mien_server.publishing.release_key import release_key

    given: dict[str, object] = {
        "hosts": host,
        "ips": ip,
        "listen": listen,
        "port": port,
        "control_port": control_port,
        "enrol_port": enrol_port,
        "releases_port": releases_port,
        "dashboard_port": dashboard_port,
    }
    values = {name: value for name, value in given.items() if value is not None}
    now = dt.datetime.now(dt.UTC)
    if renew:
        made = open_folder(folder)
        kept = made.settings.model_dump()
        # Names are added: a site that uses an old one goes on working.
        values |= {"hosts": [*dict.fromkeys([*kept["hosts"], *(host or ())])]}
        values |= {"ips": [*dict.fromkeys([*kept["ips"], *(ip or ())])]}
        settings = parse_settings({**kept, **values}, "the new settings")
        made = type(made)(made.path, settings)
    else:
        made = create_folder(folder, parse_settings(values, "mien server init"))
        settings = made.settings
        make_authority(made.tls, now)
    issue_server_certificate(made.tls, settings.hosts, settings.ips, days, now)
    release_key(made.tls)
    save_settings(made)
    print(f"{'renewed' if renew else 'made'} {made.path}")
    if renew:
        print("a server that runs takes the new certificate within seconds; sites need nothing")
    else:
        print(f"for sites that are made by hand: {made.ca_certificate} and {made.tls / KEY_FILE}")
        print(f"start it: mien server up --dir {made.path}")
        print(f"then let a lab in: mien server invite --name lab-1 --dir {made.path}")
