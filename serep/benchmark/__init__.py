"""Scores, figures and the report; sees arrays, never a network."""
