"""Alembic's scripts for the history's tables, one a revision; run by :mod:`mien_server.history.revisions`."""
