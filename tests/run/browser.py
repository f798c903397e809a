"""Headless Chromium, driven over its DevTools protocol."""

import asyncio
import contextlib
import itertools
import json
import pathlib
import shutil
import subprocess
from collections.abc import AsyncIterator
from typing import Any

import aiohttp

BINARY = shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0")


class Tab:
    """A page that is open: what it logs is kept in `complaints`."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse):
        self._socket, self._numbers = socket, itertools.count(1)
        self.complaints: list[str] = []

    async def send(self, method: str, **params: Any) -> dict[str, Any]:
        """Calls a method of the protocol."""
        number = next(self._numbers)
        await self._socket.send_json({"id": number, "method": method, "params": params})
        while True:
            heard = await self._socket.receive_json(timeout=60)
            if heard.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded"):
                self.complaints.append(json.dumps(heard["params"]))
            if heard.get("id") == number:
                assert "error" not in heard, heard
                return heard["result"]

    async def value(self, script: str) -> Any:
        """What a script is worth."""
        found = await self.send("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    async def until(self, script: str, timeout_s: float = 60.0) -> None:
        """Waits for a script to be true."""
        async with asyncio.timeout(timeout_s):
            while not await self.value(script):
                await asyncio.sleep(0.05)

    async def type(self, text: str) -> None:
        """Types where the focus is, and then Enter."""
        await self.send("Input.insertText", text=text)
        key = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"}
        for kind in ("keyDown", "keyUp"):
            await self.send("Input.dispatchKeyEvent", type=kind, **key)


@contextlib.asynccontextmanager
async def opened(address: str, profile: pathlib.Path) -> AsyncIterator[Tab]:
    """A tab with a page."""
    process = subprocess.Popen(
        [BINARY, *FLAGS, f"--user-data-dir={profile}", address], stderr=subprocess.DEVNULL
    )
    try:
        port_file = profile / "DevToolsActivePort"
        async with asyncio.timeout(60), aiohttp.ClientSession() as client:
            while not port_file.exists() or "\n" not in port_file.read_text():
                await asyncio.sleep(0.05)
            port = port_file.read_text().split()[0]
            async with client.get(f"http://127.0.0.1:{port}/json") as response:
                tabs = [tab for tab in await response.json() if tab["type"] == "page"]
        async with (
            aiohttp.ClientSession() as client,
            client.ws_connect(tabs[0]["webSocketDebuggerUrl"], max_msg_size=0) as socket,
        ):
            tab = Tab(socket)
            for domain in ("Runtime", "Log", "Page"):
                await tab.send(f"{domain}.enable")
            yield tab
    finally:
        process.terminate()
        process.wait(30)
