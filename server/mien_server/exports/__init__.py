"""Rounds for other programs' eyes: TensorBoard's event files, an MLflow server. Followers of the recorder."""
