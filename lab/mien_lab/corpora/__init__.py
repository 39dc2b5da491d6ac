"""Recorded people with ratings, as research releases hold them: one reader per format."""
