"""A tab of a real browser, told what to do over its own debugging protocol."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tests.web.parts import decode

__all__ = ["CHROMIUM", "Tab", "open_tab"]

aiohttp = pytest.importorskip("aiohttp", reason="The page needs the extra web.")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PATIENCE_S = 30.0


class Tab:
    """One page in the browser."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        """What the browser answers to one command."""
        number = next(self._numbers)
        await self._socket.send_json({"id": number, "method": method, "params": params})
        while (message := await self._socket.receive_json()).get("id") != number:
            pass
        assert "error" not in message, message
        result: dict[str, Any] = message["result"]
        return result

    async def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page."""
        result = await self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        return result["result"].get("value")

    async def until(self, expression: str) -> None:
        """Wait until the expression is true."""
        for _ in range(round(PATIENCE_S / 0.1)):
            if await self.evaluate(expression):
                return
            await asyncio.sleep(0.1)
        raise AssertionError(f"{expression} did not come true: {await self.evaluate('document.body.innerText')}")

    async def look_for(self, wanted: Callable[[npt.NDArray[np.int64]], bool]) -> npt.NDArray[np.int64]:
        """The first screenshot that is as wanted; after some time any."""
        for _ in range(round(PATIENCE_S / 0.5)):
            if wanted(picture := await self.screenshot()):
                break
            await asyncio.sleep(0.5)
        return picture

    async def screenshot(self) -> npt.NDArray[np.int64]:
        """What is seen, `(H, W, 3)` BGR."""
        shot = await self.call("Page.captureScreenshot", format="png")
        return decode(base64.b64decode(shot["data"])).astype(np.int64)


@contextlib.asynccontextmanager
async def open_tab(address: str, size: tuple[int, int], folder: Path) -> AsyncIterator[Tab]:
    """A tab of this width and height, pixels, at an address; the browser keeps its files in `folder`."""
    command = [
        str(CHROMIUM), "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
        "--remote-debugging-port=0", f"--user-data-dir={folder}", "about:blank",
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as browser:
        try:
            async with aiohttp.ClientSession() as client:
                port = await _port_of(folder / "DevToolsActivePort")
                async with client.get(f"http://127.0.0.1:{port}/json/list") as answer:
                    (found,) = [one for one in await answer.json() if one["type"] == "page"]
                async with client.ws_connect(found["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                    tab = Tab(socket)
                    width, height = size
                    await tab.call(
                        "Emulation.setDeviceMetricsOverride",
                        width=width, height=height, deviceScaleFactor=1, mobile=width < 500,
                    )  # fmt: skip
                    await tab.call("Page.navigate", url=address)
                    yield tab
        finally:
            browser.terminate()


async def _port_of(file: Path) -> int:
    """The port that the browser has written down once it listens."""
    for _ in range(round(PATIENCE_S / 0.05)):
        if file.is_file() and (lines := file.read_text().split()):
            return int(lines[0])
        await asyncio.sleep(0.05)
    raise AssertionError("The browser did not start.")
