"""``mien agent fetch``: a release of the server's comes to this site."""

from pathlib import Path
from typing import Annotated

import typer

from .options import JsonOption, SiteOption, print_json


def fetch(
    version: Annotated[
        str | None,
        typer.Argument(metavar="[VERSION]", help="Like 1.2.0.", show_default="the latest"),
    ] = None,
    site: SiteOption = Path(),
    allow_downgrade: Annotated[
        bool,
        typer.Option("--allow-downgrade", help="Also take a version lower than the one this site uses."),
    ] = False,
    url: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="URL",
            help="Fetch from a cache or mirror, https://HOST:PORT.",
            show_default="releases_url in site.toml, else the port that the server named",
        ),
    ] = None,
    release_key: Annotated[
        Path | None,
        typer.Option(
            help="The server's tls/release.pub, from its operator; this site trusts it from now on. Only "
            "where it trusts none yet."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Fetch a model that the server's operator released, and make it this site's current one.

    It is used only when its signature, hashes and schema hold; until then the one before stays. Nothing
    about this site is sent.
    """
    from mien_common.release_version import parse_version

    from ..release_source import source_for
    from ..site import open_site, pin_release_key

    wanted = parse_version(version) if version is not None and version != "latest" else None
    opened = open_site(site)
    if release_key is not None:
        pin_release_key(opened, release_key)
    source, own = source_for(opened, url)
    from ..releases import CURRENT  # only now: it takes seconds to load
    from ..releases import fetch as fetch_release

    done = fetch_release(opened, source, wanted, own=own, allow_downgrade=allow_downgrade)
    current = opened.releases / CURRENT
    if as_json:
        print_json(
            "fetched",
            version=str(done.version),
            before=str(done.before) if done.before else None,
            downloaded=done.downloaded,
            path=str(done.path),
            current=str(current),
            new_key=done.new_key,
            former_key=done.former_key,
        )
        return
    if done.former_key is not None:
        print(f"the server signs releases with another key now: {done.new_key}")
        print(f"the one before, {done.former_key}, signed for it, so this site trusts it from now on")
    elif done.new_key is not None:
        print(f"this site now trusts releases signed with the key {done.new_key}")
        print("`mien server releases` shows the server's: compare them once, by telephone")
    came = "fetched and verified" if done.downloaded else "was here already, and is verified"
    was = f" (before: {done.before})" if done.before not in (None, done.version) else ""
    print(f"release {done.version} {came}; it is the current one{was}")
    print(f"use it with --model {current}")
