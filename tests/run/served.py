"""A server as a process of its own, for tests that talk to it as its users do."""

import base64
import contextlib
import io
import os
import pathlib
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import numpy as np
from PIL import Image

from tests.run import models

SERVE = pathlib.Path(__file__).parents[2] / "launch" / "serve.py"


@contextlib.contextmanager
def serve(*flags: str, env: dict[str, str] | None = None) -> Iterator[tuple[str, subprocess.Popen]]:
    """The address of a ready server of the tiny model, and its process."""
    command = [sys.executable, SERVE, f"--model={models.looking()}", "--port=0", *flags]
    # What one server of the tests has compiled the next one finds.
    env = {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0", **os.environ, **(env or {})}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env)
    try:
        address = re.search(r"http://[\d.:]+", process.stdout.readline())[0]
        assert "ready" in process.stdout.readline()
        yield address, process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            raise


def data_url(image: np.ndarray, kind: str = "PNG", **options) -> str:
    """An image as clients send it."""
    data = io.BytesIO()
    Image.fromarray(image).save(data, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(data.getvalue()).decode()}"


def messages(text: str, *images: np.ndarray, **options) -> list[dict]:
    """One message of the user: images, then words."""
    urls = [{"url": data_url(one, **options)} for one in images]
    shown = [{"type": "image_url", "image_url": url} for url in urls]
    return [{"role": "user", "content": [*shown, {"type": "text", "text": text}]}]


def resident_bytes(process: subprocess.Popen) -> int:
    """How much memory a process has."""
    status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) * 1024


def wait_until(holds, timeout_s: float = 30.0) -> None:
    """Waits for something to become true."""
    end = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)
