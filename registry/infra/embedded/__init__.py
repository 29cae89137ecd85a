"""The bundled Postgres server: its binaries, its data directory, and its start and stop."""
