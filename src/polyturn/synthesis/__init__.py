"""From intents to a program, one turn at a time: the turn format, truncation, sessions and their files."""
