"""``mien server releases rotate-key``: releases are signed with a new key from now on."""

from pathlib import Path

from .options import Dir


def rotate_key(folder: Dir = Path()) -> None:
    """Sign releases with a new key from now on; the old one signs for it, so sites follow by themselves.

    Releases that exist stay as they are. The old private key is gone after it. If somebody else may have it,
    that is not enough: see docs/releases.md.
    """
    import datetime as dt

    from mien_common.release import fingerprint
    from mien_server.folder import open_folder
    from mien_server.publishing.release_key import PRIVATE_KEY_FILE
    from mien_server.publishing.releases import rotate_release_key

    opened = open_folder(folder)
    old, new = rotate_release_key(opened, dt.datetime.now(dt.UTC))
    print(f"releases are signed with the key {fingerprint(new)} now")
    print(f"the one before,                  {fingerprint(old)}, signed for it: sites take it as they fetch")
    print(f"keep a copy of {opened.tls / PRIVATE_KEY_FILE} where nobody else can read it")
