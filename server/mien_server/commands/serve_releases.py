"""``mien server releases serve``: sites can fetch releases, whether `up` runs or not."""

from pathlib import Path

from .options import Dir


def serve(folder: Dir = Path()) -> None:
    """Offer the releases to sites over HTTPS until Ctrl-C or SIGTERM; read-only, without a login.

    `mien server up` does this itself. Alone it is for a machine that only hands out models.
    """
    import datetime as dt
    import logging

    from mien_common.errors import SettingsError
    from mien_server.certificates import check_certificates
    from mien_server.folder import open_folder
    from mien_server.logs import log_to_stderr
    from mien_server.ports import check_port
    from mien_server.publishing.release_key import release_key
    from mien_server.web.listener import run
    from mien_server.web.releases import releases_server

    opened = open_folder(folder)
    settings = opened.settings
    if not settings.releases_port:
        raise SettingsError(f"{opened.path / 'server.toml'}: releases_port is 0, nowhere. Give it a port.")
    check_certificates(opened.tls, dt.datetime.now(dt.UTC))
    check_port(opened, "releases_port", settings.listen, settings.releases_port)
    release_key(opened.tls)  # sites ask for its public half
    log_to_stderr()
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # a stranger's broken handshake is no event
    logging.getLogger(__name__).info("event=releases_served port=%d", settings.releases_port)
    run(releases_server(opened))
