"""Which connections are closed while a server is full."""

from __future__ import annotations

import itertools

from registry.http.open_connections import MAX_REFUSED, OpenConnections

LIMIT = 64

times = itertools.count(1.0)


class StandIn:
    """A connection that counts how often it is asked for its client."""

    def __init__(self, network: str) -> None:
        self._network = network
        self.asked = 0
        self.is_closed = False

    @property
    def network(self) -> str:
        self.asked += 1
        return self._network

    def abort(self) -> None:
        self.is_closed = True


def arrive(connections: OpenConnections, network: str) -> tuple[StandIn, bool]:
    """Let a client connect, and send a request if it is admitted."""
    connection = StandIn(network)
    is_admitted = connections.admit(connection, network, next(times))
    if is_admitted:
        connections.begin(connection, next(times))
    return connection, is_admitted


def full(*networks: str) -> tuple[OpenConnections, list[StandIn]]:
    """All connections of a server, with requests in progress of these addresses in turn."""
    connections = OpenConnections(LIMIT)
    return connections, [
        arrive(connections, network)[0] for network in itertools.islice(itertools.cycle(networks), LIMIT)
    ]


def test_newcomers_of_a_full_server_do_not_look_at_all_connections() -> None:
    connections, held = full(*(f"address {n}" for n in range(LIMIT)))
    assert not any(arrive(connections, "newcomer")[1] for _ in range(100))
    assert sum(connection.asked for connection in held) == LIMIT


def test_oldest_request_of_the_most_frequent_address_makes_room() -> None:
    connections, held = full("many", "many", "few")
    newcomers = [arrive(connections, "newcomer") for _ in range(3)]
    assert all(is_admitted for _, is_admitted in newcomers)
    assert [connection for connection in held if connection.is_closed] == [held[0], held[1], held[3]]
    assert not arrive(connections, "many")[1]


def test_connection_without_a_request_makes_room_first() -> None:
    connections, held = full("many")
    connections.end(held[7])
    assert arrive(connections, "many")[1]
    assert [connection for connection in held if connection.is_closed] == [held[7]]
    # Its answer ends after it was closed.
    connections.end(held[7])
    assert not arrive(connections, "many")[1]


def test_closed_connections_leave_their_room() -> None:
    connections, held = full("many", "few")
    assert not arrive(connections, "many")[1]
    connections.remove(held[1])
    assert arrive(connections, "many")[1]
    assert not arrive(connections, "many")[1]


def test_refused_connections_make_no_room_and_are_bounded() -> None:
    connections, _ = full("many")
    refused = [arrive(connections, "many") for _ in range(MAX_REFUSED + 3)]
    assert not any(is_admitted for _, is_admitted in refused)
    assert [connection.is_closed for connection, _ in refused] == [True] * 3 + [False] * MAX_REFUSED
