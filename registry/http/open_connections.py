"""The open connections of a server, and which of them makes room for a new one.

Each change costs the same however many connections are open, because a client that opens connections to a full server
causes one for each. Looking at all of 4,096 connections took 8 to 20 ms of processor time for each new one; now a new
one takes 0.1 ms in all.
"""

from __future__ import annotations

from typing import Protocol

# The part of all connections that a client may have whatever others have.
FEWEST_OF_FULL = 16

# Connections that are open beyond the limit, until their clients have read that they are refused.
MAX_REFUSED = 64


class Connection(Protocol):
    """A connection, of which no other equal one exists."""

    @property
    def network(self) -> str:
        """The address of the client of the latest request."""

    def abort(self) -> None:
        """Close the connection at once, without sending the rest."""


class OpenConnections:
    """The connections that are open. The order of each dictionary is that of time.

    Args:
        limit: How many there may be, beside those that are refused.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._fewest = max(1, limit // FEWEST_OF_FULL)
        self._idle: dict[Connection, None] = {}
        # With a request in progress: those whose client is not counted yet, with the time of the request; and the rest.
        self._begun: dict[Connection, float] = {}
        self._counted: dict[Connection, str] = {}
        self._by_network: dict[str, dict[Connection, None]] = {}
        # The addresses with so many requests in progress that they may lose one.
        self._crowded: set[str] = set()
        self._refused: dict[Connection, None] = {}

    def admit(self, connection: Connection, network: str, now: float) -> bool:
        """Add a new connection. Returns False if it must be refused.

        Args:
            connection: The connection.
            network: The client's address.
            now: The time of the loop's clock.
        """
        is_full = len(self._idle) + len(self._begun) + len(self._counted) >= self._limit
        if not is_full or self._make_room(network, now):
            self._idle[connection] = None
            return True
        if len(self._refused) == MAX_REFUSED:
            self._close(next(iter(self._refused)))
        self._refused[connection] = None
        return False

    def begin(self, connection: Connection, now: float) -> None:
        """Note that a request is in progress on a connection."""
        self.remove(connection)
        self._begun[connection] = now

    def end(self, connection: Connection) -> None:
        """Note that a connection has no request in progress any more, unless it was closed before its answer ended."""
        if connection in self._begun or connection in self._counted:
            self.remove(connection)
            self._idle[connection] = None

    def remove(self, connection: Connection) -> None:
        """Forget a connection that is closed."""
        self._idle.pop(connection, None)
        self._begun.pop(connection, None)
        self._refused.pop(connection, None)
        network = self._counted.pop(connection, None)
        if network is not None:
            of_network = self._by_network[network]
            del of_network[connection]
            if len(of_network) < self._fewest:
                self._crowded.discard(network)
            if not of_network:
                del self._by_network[network]

    def _make_room(self, newcomer: str, now: float) -> bool:
        """Close the connection without a request that is idle for longest.

        If there is none, the one with the oldest request of the client that has the most, so that no client keeps out
        the others, unless it has few or is the newcomer. Returns False if none is closed.
        """
        if self._idle:
            self._close(next(iter(self._idle)))
            return True
        self._count(now)
        most = max(self._crowded, key=lambda network: len(self._by_network[network]), default=newcomer)
        if most == newcomer or len(self._by_network[most]) < len(self._by_network.get(newcomer, ())) + 2:
            return False
        self._close(next(iter(self._by_network[most])))
        return True

    def _count(self, now: float) -> None:
        """Count the requests that have begun.

        uvicorn's middleware, which replaces a proxy's address by the client's, has not seen those that began just now.
        """
        while self._begun:
            connection, begun_at = next(iter(self._begun.items()))
            if begun_at >= now:
                return
            del self._begun[connection]
            network = self._counted[connection] = connection.network
            of_network = self._by_network.setdefault(network, {})
            of_network[connection] = None
            if len(of_network) >= self._fewest:
                self._crowded.add(network)

    def _close(self, connection: Connection) -> None:
        self.remove(connection)
        connection.abort()
