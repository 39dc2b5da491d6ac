"""By which names a browser may call the dashboard.

Enters: settings and certificates. Leaves: host names; of addresses every one will do, see
:class:`~mien_server.web.dashboard.guard.Hosts`.
"""

import ipaddress
from pathlib import Path

from cryptography import x509

from mien_common.errors import MienError
from mien_common.files import read_bounded
from mien_server.certificates import PEM_LIMIT_BYTES
from mien_server.folder import ServerFolder
from mien_server.web.dashboard.access import Access


def names(folder: ServerFolder, access: Access) -> set[str]:
    """Those that the operator set, and those that a certificate is for."""
    found = set(folder.settings.hosts)
    for file in {folder.tls / "server.crt", access.files(folder)[0]}:
        found |= _names_in(file)
    return {name for name in found if not _is_address(name)}


def _names_in(file: Path) -> set[str]:
    try:
        certificate = x509.load_pem_x509_certificate(read_bounded(file, PEM_LIMIT_BYTES))
        alternatives = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (MienError, ValueError, x509.ExtensionNotFound):
        return set()
    return set(alternatives.get_values_for_type(x509.DNSName))


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
