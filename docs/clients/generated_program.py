# Posts an announcement and reads the deal's state with the client that openapi-python-client makes:
#
#     openapi-python-client generate --url http://127.0.0.1:8000/openapi.json --output-path made --meta none \
#         --config openapi-python-client.yaml
#     REGISTRY_URL=http://127.0.0.1:8000 REGISTRY_KEY=… python generated_program.py
import os

from made import AuthenticatedClient
from made.api.deals import get_deal, post_events
from made.models import Announcement, DealResponse

BODY = [
    {"event": {"type": "deal_registered", "title": {"en": "A data centre"}}},
    {
        "effective_on": "2025-10-29",
        "event": {
            "type": "pledge_announced",
            "pledge": "phase-1",
            "amount": {"value": "5000000000", "currency": "USD"},
        },
    },
]

client = AuthenticatedClient(base_url=os.environ["REGISTRY_URL"], token=os.environ["REGISTRY_KEY"])
body = [Announcement.from_dict(announcement) for announcement in BODY]
post_events.sync("typed-in-python", client=client, body=body, idempotency_key="typed-in-python")
state = get_deal.sync("typed-in-python", client=client)
assert isinstance(state, DealResponse)
amount = state.pledges[0].amount
print(state.title.to_dict()["en"], amount.currency, amount.value)
