"""What the server answers over HTTPS: an app per file, each on a port and in a process of its own."""
