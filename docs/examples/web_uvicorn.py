import contextlib
import logging

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

import otel_tasklog

log = logging.getLogger("shop")


@contextlib.asynccontextmanager
async def lifespan(_app):
    async with otel_tasklog.install(
        service_name="shop", level="INFO", loggers=["", "uvicorn"]
    ):
        yield


async def charge(request):
    order_id = request.path_params["order_id"]
    async with otel_tasklog.task(order_id):
        log.info("charging %s", order_id)
    return PlainTextResponse("charged\n")


app = Starlette(routes=[Route("/charge/{order_id}", charge)], lifespan=lifespan)


# Try it
if __name__ == "__main__":
    import asyncio
    import urllib.request

    import uvicorn

    async def one_request():
        server = uvicorn.Server(uvicorn.Config(app, port=0))
        logging.getLogger("uvicorn.error").setLevel("WARNING")
        serving = asyncio.create_task(server.serve())
        while not server.started:  # noqa: ASYNC110 - it has no event to wait for
            await asyncio.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        url = f"http://127.0.0.1:{port}/charge/order-1?currency=EUR"
        await asyncio.to_thread(lambda: urllib.request.urlopen(url).close())
        tasklog = otel_tasklog.current()
        [charging] = tasklog.query(logger="shop")
        [access] = tasklog.query(logger="uvicorn.access")
        print(charging.task_id, charging.message)
        for name, value in access.attributes.items():
            if name != "client.port":
                print(name, value)
        server.should_exit = True
        await serving

    asyncio.run(one_request())
