"""The same receiver over OTLP/gRPC."""

from __future__ import annotations

import threading
import time
from concurrent import futures
from typing import TYPE_CHECKING

import grpc
from e2e.faults.journal import SENDER, Sent
from e2e.faults.receiver import answer_with, fate_of
from e2e.faults.script import ACCEPT
from google.rpc.error_details_pb2 import (  # type: ignore[import-untyped]
    RetryInfo,
)
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from e2e.faults.journal import Notes
    from e2e.faults.script import Script, Step

__all__ = ["GrpcReceiver"]

OPTIONS = (("grpc.max_receive_message_length", -1),)


class GrpcReceiver(grpc.GenericRpcHandler):
    """OTLP/gRPC on grpcio.

    Args:
        script: What to do.
        notes: Where to write what came.
        port: Where to listen; 0: a free one.
    """

    def __init__(self, script: Script, notes: Notes, port: int) -> None:
        self._script = script
        self._notes = notes
        self.port = port
        self._server: grpc.Server | None = None

    def open(self) -> None:
        server = grpc.server(futures.ThreadPoolExecutor(8), options=OPTIONS)
        server.add_generic_rpc_handlers((self,))
        self.port = server.add_insecure_port(f"127.0.0.1:{self.port}")
        server.start()
        self._server = server
        self._notes.listens(up=True)

    def close(self, grace_seconds: float = 0.2) -> None:
        if self._server is not None:
            self._notes.listens(up=False)
            # What a thread of ours is about to answer still goes out.
            self._server.stop(grace_seconds).wait(10)
            self._server = None

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[bytes, bytes]:
        return grpc.unary_unary_rpc_method_handler(self._export)

    def _export(self, body: bytes, call: grpc.ServicerContext) -> bytes:
        metadata = {key: str(value) for key, value in call.invocation_metadata()}
        sent = Sent(body, metadata.get(SENDER, ""))
        step = self._script.step()
        if not step.applies("", len(body)):
            return self._take(sent, call, ACCEPT)
        try:
            match step.do:
                case "reset":
                    threading.Thread(target=self._restart).start()
                    self._notes.cut()
                    return self._wait(call)
                case "answer":
                    return self._answer(sent, call, step)
                case "hang":
                    self._notes.request(sent, step.do, "kept")
                    return self._wait(call)
                case _:  # also a "refuse" that begins at this moment
                    return self._take(sent, call, step)
        finally:
            self._script.done(step)

    def _restart(self) -> None:
        self.close(0.0)
        self.open()

    def _wait(self, call: grpc.ServicerContext) -> bytes:
        """Wait until the client gives up, or this server does."""
        over = threading.Event()
        if call.add_callback(over.set):
            over.wait()
        return b""

    def _note(self, name: str, call: grpc.ServicerContext) -> None:
        """Note the answer when it is out, unless the client has gone before."""
        if call.is_active():
            call.add_callback(lambda: self._notes.answered(name))

    def _take(self, sent: Sent, call: grpc.ServicerContext, step: Step) -> bytes:
        rejects = step.rejects if step.do == "partial" else 0
        name = self._notes.request(sent, step.do, "kept", rejects=rejects)
        if step.do == "trickle":
            time.sleep(step.pause_seconds)
        self._note(name, call)
        return answer_with(rejects)

    def _answer(self, sent: Sent, call: grpc.ServicerContext, step: Step) -> bytes:
        name = self._notes.request(sent, step.do, fate_of(step))
        self._note(name, call)
        if step.code == "OK":
            return step.text.encode()
        code = grpc.StatusCode[step.code]
        if step.retry_seconds is not None:
            info = RetryInfo()
            info.retry_delay.FromNanoseconds(int(step.retry_seconds * 1e9))
            status = Status(code=code.value[0])
            status.details.add().Pack(info)
            call.set_trailing_metadata(
                (("grpc-status-details-bin", status.SerializeToString()),)
            )
        call.set_code(code)
        call.set_details(step.text)
        return b""
