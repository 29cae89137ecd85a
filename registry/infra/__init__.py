"""What the service runs on: Postgres and the bundled server, settings, keys and sessions, and threads."""
