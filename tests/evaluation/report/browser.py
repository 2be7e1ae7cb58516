"""Owns a headless Chromium driven over its debugging pipe, for tests of report.html: run JavaScript, see errors, take a picture.

Needs the program `chromium` and nothing else. A page's own policy stays in force: what is run here goes in by the debugger.
"""

import base64
import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any, Self

FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-sync "
    "--remote-debugging-pipe --window-size=1300,1000"
)
PATIENCE_S = 60.0


class _PageLeftError(AssertionError):
    """The page was left for another before it could answer."""


class Browser:
    """One page, opened; a context manager. errors: what the page or the browser complained of on the console."""

    def __init__(self, page: Path, profile: Path) -> None:
        to_read, self._commands = os.pipe()
        self._answers, to_write = os.pipe()
        # Chromium reads commands from descriptor 3 and answers on 4.
        line = f'exec chromium {FLAGS} "$1" about:blank 3<&{to_read} 4>&{to_write}'
        command = ["bash", "-c", line, "-", f"--user-data-dir={profile}"]
        self._process = subprocess.Popen(command, pass_fds=(to_read, to_write), stderr=subprocess.DEVNULL)
        os.close(to_read), os.close(to_write)
        self._buffer, self._num_sent = b"", 0
        self.errors: list[str] = []
        targets = self._send("Target.getTargets")["targetInfos"]
        target = next(one["targetId"] for one in targets if one["type"] == "page")
        self._session = self._send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._send(f"{domain}.enable")
        started_s = time.monotonic()
        self._send("Page.navigate", url=page.as_uri())
        self.wait_for("location.protocol === 'file:' && document.readyState === 'complete'")
        self.load_s = time.monotonic() - started_s

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression; an exception in it raises."""
        answer = self._send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait_for(self, condition: str) -> None:
        """Until a JavaScript condition holds."""
        give_up_s = time.monotonic() + PATIENCE_S
        while not self._holds(condition):
            assert time.monotonic() < give_up_s, condition
            time.sleep(0.02)

    def _holds(self, condition: str) -> bool:
        try:
            return bool(self.run(condition))
        except _PageLeftError:  # while it was asked, the page gave way to the next
            return False

    def resize(self, width: int, height: int = 900) -> None:
        """A window of so many pixels, as a phone's where it is narrow."""
        self._send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        self.wait_for(f"innerWidth === {width}")

    def picture(self, path: Path) -> None:
        """What stands in the window, as PNG."""
        path.write_bytes(base64.b64decode(self._send("Page.captureScreenshot")["data"]))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._commands), os.close(self._answers)

    def _send(self, method: str, **params: Any) -> dict[str, Any]:
        self._num_sent += 1
        message: dict[str, Any] = {"id": self._num_sent, "method": method, "params": params}
        if hasattr(self, "_session"):
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._num_sent:
                if "navigated" in answer.get("error", {}).get("message", ""):
                    raise _PageLeftError(answer)
                assert "error" not in answer, answer
                return answer["result"]
            self._listen(answer)

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            part = os.read(self._answers, 2**20)
            assert part, "chromium has ended"
            self._buffer += part
        line, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(line)

    def _listen(self, event: dict[str, Any]) -> None:
        name, params = event.get("method"), event.get("params", {})
        if name == "Runtime.exceptionThrown":
            self.errors.append(json.dumps(params["exceptionDetails"]))
        elif name == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.errors.append(params["entry"]["text"])
        elif name == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.errors.append(json.dumps(params["args"]))
        elif name == "Network.requestWillBeSent" and not params["request"]["url"].startswith(("file:", "data:")):
            self.errors.append(f"asked for {params['request']['url']}")
