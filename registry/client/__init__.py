"""A client of a registry, for Python programs: `Client` waits for each answer, `AsyncClient` is for asyncio.

    with Client("https://registry.example", key="…") as registry:
        state = registry.deal("sk-aws-ulsan", effective_on=date(2025, 10, 29))
        for event in registry.follow(after=state.position):
            ...

Both have the same methods: `calls.py` describes each request once. `verification.py` checks certificates and proofs
without a network.
"""

from registry.client.asynchronous import AsyncClient
from registry.client.errors import ApiError
from registry.client.retries import Retries
from registry.client.synchronous import Client
from registry.client.verification import verify

__all__ = ["ApiError", "AsyncClient", "Client", "Retries", "verify"]
