"""Requirements, distributions, the container image and the compose file."""
