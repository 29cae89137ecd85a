"""The investment registry: who announced what, how much, where, by when, who said so, and what became of it."""
