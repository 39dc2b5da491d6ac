"""``mien agent rotate-key``: a new key for this site."""

from pathlib import Path

from .options import SiteOption


def rotate_key(site: SiteOption = Path()) -> None:
    """Give this site a new key; the old one signs for it, and is refused from then on.

    Stop `mien agent join` first, and do it between runs: the server counts the new key as a new connection,
    which takes part from the next run on.
    """
    from ..key_rotation import rotate_key as rotate
    from ..site import open_site

    old, new = rotate(open_site(site))
    print(f"new key  {new}")
    print(f"instead of {old}, which the server refuses from now on")
