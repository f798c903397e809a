"""An OpenAI-compatible endpoint that answers, or fails, as a test says."""

import contextlib
import dataclasses
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclasses.dataclass(frozen=True)
class Reply:
    """What comes back: a message's `text`, or with another `status` or `body` something else, after
    `delay_s`; nothing at all where the connection `drops`, half of it where it `breaks_off`."""

    text: str = ""
    status: int = 200
    body: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    delay_s: float = 0.0
    drops: bool = False
    breaks_off: bool = False


class Script:
    """How requests are answered: `answer(number, request)`; `requests` are those that came."""

    def __init__(self, answer: Callable[[int, dict], Reply]):
        self.answer, self.requests, self.keys = answer, [], []
        self.lock = threading.Lock()
        self.url = ""


@contextlib.contextmanager
def serving(answer: Callable[[int, dict], Reply]) -> Iterator[Script]:
    """Serves a script at its `url` while the block runs."""
    script = Script(answer)

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args) -> None:
            pass

        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["content-length"])))
            with script.lock:
                number = len(script.requests)
                script.requests.append(request)
                script.keys.append(self.headers.get("authorization"))
            reply = script.answer(number, request)
            time.sleep(reply.delay_s)
            if reply.drops:
                return self.connection.close()
            message = {"choices": [{"message": {"role": "assistant", "content": reply.text}}]}
            body = (json.dumps(message) if reply.body is None else reply.body).encode()
            self.send_response(reply.status)
            promised = len(body) * (2 if reply.breaks_off else 1)
            for name, value in (("content-length", str(promised)), *reply.headers):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)
            if reply.breaks_off:
                self.close_connection = True

    class Server(ThreadingHTTPServer):
        request_queue_size = 256

        def handle_error(self, request, client_address) -> None:
            pass  # who asked has gone

    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    script.url = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        yield script
    finally:
        server.shutdown()
        server.server_close()
