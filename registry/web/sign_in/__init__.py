"""Signing in with a key or through an OpenID provider, and the sessions of the reader."""
