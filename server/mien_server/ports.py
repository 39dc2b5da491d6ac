"""Whether a port can be listened on, asked before anything starts."""

import socket

from mien_common.errors import FederationError
from mien_server.folder import ServerFolder


def check_port(folder: ServerFolder, name: str, address: str, port: int) -> None:
    """Raise FederationError when the port that the setting ``name`` gives is taken.

    gRPC would share a taken port with its holder, silently.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            raise FederationError(
                f"cannot listen on {address} port {port}: {error.strerror}. Stop what uses it, or set "
                f"another {name} in {folder.path / 'server.toml'}."
            ) from error
