"""Benchmarks: us and a peer, or a limit, measured in one session; a file for each."""
