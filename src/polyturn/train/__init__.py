"""The training library."""
