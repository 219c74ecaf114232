"""Sampling from a decoder. `types` says what goes in and out and imports no JAX; `engine` does the work."""
