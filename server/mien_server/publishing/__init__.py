"""What is published: every round's model, and the signed releases made of some."""
