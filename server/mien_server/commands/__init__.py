"""One file per ``mien server`` command: options in, one line of text or JSON per event out."""
