"""JSON over HTTP: decode, call the recorder or the reader, encode."""
