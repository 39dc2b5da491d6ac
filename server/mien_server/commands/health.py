"""``mien server health``: does it answer."""

from pathlib import Path

from .options import Dir


def health(folder: Dir = Path()) -> None:
    """Exit with 0 if the server of this folder answers, with 1 if not."""
    from mien_server.folder import open_folder
    from mien_server.health import check_dashboard, check_door, check_health, check_releases

    opened = open_folder(folder)
    check_health(opened)
    check_door(opened)
    check_releases(opened)
    check_dashboard(opened)
    print(f"the server of {opened.path} answers")
