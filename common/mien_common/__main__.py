"""``python -m mien_common``: the ``mien`` command, for programs that must use their own interpreter."""

from mien_common.cli import main

if __name__ == "__main__":
    main()
