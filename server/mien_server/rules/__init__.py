"""Federated rules: how a round's updates become new global weights."""
