"""The write path: requests, validation in batches, and the commit to the log."""
