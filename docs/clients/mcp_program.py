# Asks a registry through `registry mcp`, with the client of the MCP SDK (pip install mcp):
#
#     REGISTRY_URL=http://127.0.0.1:8000 python mcp_program.py
import asyncio
import json
import os
import shutil

from mcp import Client, StdioServerParameters

COMMAND = os.environ.get("REGISTRY_COMMAND") or shutil.which("registry") or "registry"
SERVER = StdioServerParameters(command=COMMAND, args=["mcp"], env={"REGISTRY_URL": os.environ["REGISTRY_URL"]})


async def main() -> None:
    async with Client(SERVER) as registry:
        print(*(tool.name for tool in (await registry.list_tools()).tools))
        found = await registry.call_tool("search", {"q": "ulsan", "kind": "deal"})
        deal = found.structured_content["hits"][0]["id"]
        then = {"deal": deal, "effective_on": "2025-06-17", "published_on": "2025-06-17"}
        state = (await registry.call_tool("deal", then)).structured_content
        print(deal, state["published_on"], len(state["pledges"]))
        history = (await registry.call_tool("history", {"deal": deal})).structured_content
        proof = await registry.call_tool("proof", {"position": history["events"][0]["position"]})
        print(json.loads(proof.content[0].text)["bundle"])
        totals = (await registry.call_tool("totals", {"group_by": "sector", "currency": "USD"})).structured_content
        print(sorted(totals["totals"])[:2])
        refused = await registry.call_tool("deal", {"deal": deal, "effective_on": "tomorrow"})
        print(refused.is_error, refused.content[0].text)
        print((await registry.call_tool("deal", {"deal": "no-such-deal"})).is_error)


asyncio.run(main())
