"""The log: event types, canonical bytes, decoding, validation, append and read."""
