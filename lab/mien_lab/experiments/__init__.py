"""Experiments: models, methods and splits compared on a corpus, by the deployed agent's and server's code."""
