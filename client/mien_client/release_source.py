"""Where releases are fetched: one HTTPS server, of which every answer is bounded before it is read.

Enters: answers to GET. Leaves this machine: the requests, which say which file is wanted and nothing of the
site. Redirects are not followed, to wherever they lead.
"""

import http.client
import ssl
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Final
from urllib.parse import urlsplit

from mien_common.errors import FederationError, SettingsError, TrustError

from .site import Site

SILENCE_S: Final = 30.0
"""The longest wait for the next bytes."""
PATIENCE_S: Final = 900.0
"""The longest that one file may take."""
PIECE_BYTES: Final = 64 * 1024


class ReleaseSource:
    """A server of releases.

    Parameters
    ----------
    url : ``https://HOST[:PORT][/PREFIX]``, without ``/releases``.
    context : whose certificates count.
    """

    def __init__(self, url: str, context: ssl.SSLContext) -> None:
        self._url = url.rstrip("/")
        try:
            parts = urlsplit(self._url)
            self._host, self._port = parts.hostname or "", parts.port
        except ValueError as error:
            raise SettingsError(f"{url[:200]!r} is not an address: {error}. {_GIVE}") from error
        if parts.scheme != "https" or not self._host or parts.query or parts.fragment or parts.username:
            raise SettingsError(f"{url[:200]!r} is not an address to fetch releases from. {_GIVE}")
        self._path = parts.path
        self._context = context

    @property
    def host(self) -> str:
        """Whose it is."""
        return self._host

    def content(self, name: str, limit_bytes: int) -> bytes:
        """A small file; TrustError when it has more than ``limit_bytes``."""
        return b"".join(self._pieces(name, limit_bytes, None))

    def pieces(self, name: str, size_bytes: int) -> Iterator[bytes]:
        """A file of a known size, piece by piece; an error when it has more or less."""
        return self._pieces(name, size_bytes, size_bytes)

    def _pieces(self, name: str, limit_bytes: int, size_bytes: int | None) -> Iterator[bytes]:
        connection = http.client.HTTPSConnection(
            self._host, self._port, timeout=SILENCE_S, context=self._context
        )
        end = time.monotonic() + PATIENCE_S
        with closing(connection):
            try:
                headers = {"Accept-Encoding": "identity", "User-Agent": "mien"}
                connection.request("GET", f"{self._path}/releases/{name}", headers=headers)
                with connection.getresponse() as answer:
                    self._check(answer, name)
                    told = answer.length
                    if told is not None and (told > limit_bytes or told != (size_bytes or told)):
                        raise TrustError(self._wrong_size(name, told, limit_bytes, size_bytes))
                    count = 0
                    while piece := answer.read1(PIECE_BYTES):
                        count += len(piece)
                        if count > limit_bytes:
                            raise TrustError(self._wrong_size(name, count, limit_bytes, size_bytes))
                        if time.monotonic() > end:
                            raise TimeoutError(f"not finished within {PATIENCE_S:g} s")
                        yield piece
                    whole = size_bytes if size_bytes is not None else told
                    if whole is not None and count < whole:
                        raise FederationError(
                            f"{name} from {self._url} ended after {count} of {whole} bytes. Fetch again."
                        )
            except ssl.SSLCertVerificationError as error:
                raise TrustError(
                    f"will not fetch from {self._url}: its certificate does not hold "
                    f"({error.verify_message}). Is it the server whose ca.crt this site has?"
                ) from error
            except (OSError, http.client.HTTPException) as error:
                raise FederationError(
                    f"cannot fetch {name} from {self._url}: {str(error) or type(error).__name__}. Is `mien "
                    "server up` running there? Another address: --from, or releases_port or "
                    "releases_url in site.toml."
                ) from error

    def _check(self, answer: http.client.HTTPResponse, name: str) -> None:
        if 300 <= answer.status < 400:
            elsewhere = str(answer.headers.get("Location", "nowhere"))[:200]
            raise TrustError(
                f"{self._url} sends this site elsewhere for {name}, to {elsewhere!r}; that is not followed. "
                "If releases have moved, their operator says so: set releases_url in site.toml."
            )
        if answer.status == 404:
            raise FederationError(
                f"{self._url} has no {name}. Has its operator released a model (mien server promote)?"
            )
        if answer.status != 200:
            raise FederationError(f"{self._url} answers {answer.status} for {name}. Fetch again later.")

    def _wrong_size(self, name: str, found: int, limit_bytes: int, size_bytes: int | None) -> str:
        right = f"at most {limit_bytes}" if size_bytes is None else f"exactly {size_bytes}"
        return (
            f"{self._url} gives {found} bytes or more as {name}, which must have {right}. Nothing was "
            "changed here; tell the server's operator."
        )


def source_for(site: Site, url: str | None) -> tuple[ReleaseSource, bool]:
    """Where ``site`` fetches from, and whether that is its own server.

    Its own server shows a certificate of the site's authority. Elsewhere, where a cache or a mirror stands,
    one that this machine trusts will do too: what counts there is the signature.

    Parameters
    ----------
    url : instead of what ``site.toml`` says.

    Raises
    ------
    FederationError
        The site's server hands out none, and no other place is known.
    SettingsError
        ``url`` is no address.
    """
    server, port = site.settings.server.rpartition(":")[0], site.settings.releases_port
    given = url or site.settings.releases_url
    if not given and not port:
        raise FederationError(
            "this site's server hands out no releases over the network. If its operator has switched that on "
            "since, write its releases_port into site.toml; a mirror of it can be given with --from."
        )
    context = ssl.create_default_context(cadata=site.root_certificate().decode())
    source = ReleaseSource(given or f"https://{server}:{port}", context)
    own = source.host.lower() == server.strip("[]").lower()
    if not own:
        context.load_default_certs()
    return source, own


_GIVE: Final = "Give https://HOST:PORT, like https://mien.example.org:9095."
