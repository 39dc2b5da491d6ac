"""Which exports a server has, as its settings say."""

import logging

from mien_common.errors import SettingsError
from mien_server.exports.mlflow import Mlflow
from mien_server.exports.mlflow_server import mlflow_address
from mien_server.exports.tensorboard import TensorBoard
from mien_server.folder import ServerFolder
from mien_server.history.followers import Follower

log = logging.getLogger(__name__)


def wanted_followers(folder: ServerFolder) -> list[Follower]:
    """The followers that the settings ask for; one that cannot be had is said, and the others go on."""
    found: list[Follower] = [TensorBoard()] if folder.settings.tensorboard else []
    try:
        if address := mlflow_address(folder):
            found.append(Mlflow(address))
    except SettingsError as error:
        log.warning("event=mlflow_off reason=%s", error)
    return found
