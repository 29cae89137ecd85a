"""The views: everything here can be thrown away and rebuilt from the log."""
