"""The operator's page and its JSON API: who may look, what is told, what is done, and the live stream."""
