"""One file per ``mien agent`` command: options in, one line of text or JSON per event out."""
