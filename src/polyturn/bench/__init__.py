"""Measuring models: problems, graders, statistics."""
