"""What the service runs on: Postgres, the bundled server, settings and API keys."""
