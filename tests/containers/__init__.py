"""The image, the compose file and testcontainers, run for real with podman. See conftest.py for what they require."""
