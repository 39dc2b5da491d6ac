"""What the server answers over HTTPS, an app per file; each can be mounted beside others."""
