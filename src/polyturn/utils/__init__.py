"""Small and boring: files, errors, progress."""
