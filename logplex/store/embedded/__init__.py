"""One process: configuration in SQLite, spools in memory."""
