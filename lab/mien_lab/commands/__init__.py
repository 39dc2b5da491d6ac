"""One file per ``mien lab`` command: options in, text or JSON lines out."""
