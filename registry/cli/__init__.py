"""The `registry` command."""


def main() -> None:
    """Nothing yet."""
