"""The forms with which editors correct, void and redact events, and add events to organizations."""
