import logging
import os
import secrets

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

import otel_tasklog

log = logging.getLogger("shop")
tasklog = otel_tasklog.install(service_name="shop", level="INFO")
token = os.environ.get("TASKLOG_TOKEN") or secrets.token_urlsafe()


async def charge(request):
    order_id = request.path_params["order_id"]
    async with otel_tasklog.task(order_id):
        log.info("charging %s", order_id)
        if order_id.endswith("3"):
            log.warning("the bank is slow")
    return PlainTextResponse("charged\n")


app = Starlette(
    routes=[
        Route("/charge/{order_id}", charge),
        Mount("/tasklog", tasklog.asgi(token=token)),
    ]
)


# Try it
if __name__ == "__main__":
    import asyncio
    import json
    import urllib.request

    import uvicorn

    def get(port, path):
        request = urllib.request.Request(f"http://127.0.0.1:{port}{path}")
        request.add_header("Authorization", f"Bearer {token}")
        with urllib.request.urlopen(request) as answer:  # noqa: S310
            return answer.read()

    async def two_requests():
        server = uvicorn.Server(uvicorn.Config(app, port=0))
        logging.getLogger("uvicorn.error").setLevel("WARNING")
        serving = asyncio.create_task(server.serve())
        while not server.started:  # noqa: ASYNC110 - it has no event to wait for
            await asyncio.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        await asyncio.to_thread(get, port, "/charge/order-3")
        path = "/tasklog/v1/records?q=level>=warning"
        answer = json.loads(await asyncio.to_thread(get, port, path))
        for record in answer["records"]:
            print(record["task_id"], record["severity_text"], record["message"])
        server.should_exit = True
        await serving

    asyncio.run(two_requests())
