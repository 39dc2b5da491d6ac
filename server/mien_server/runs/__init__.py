"""A run: its settings, its place in the queue, its rounds, and what is written of them."""
