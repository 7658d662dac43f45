"""One tab of a headless Chromium, driven over its debugging pipe: real frames, real keys, fingers and mouse."""
import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = ("--headless", "--no-sandbox", "--hide-scrollbars", "--no-first-run", "--disable-extensions", "--use-gl=angle", "--use-angle=swiftshader",
         "--enable-unsafe-swiftshader", "--remote-debugging-pipe")  # fmt: skip
# The browser reads commands from descriptor 3 and answers on 4.
START = "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); os.execv(sys.argv[3], sys.argv[3:])"
PATIENCE_S = 180  # of a loaded machine; an answer takes milliseconds


def find_browser() -> str | None:
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


def _pipe() -> tuple[int, int]:
    """Ends numbered above those that the browser wants."""
    ends = os.pipe()
    above = tuple(fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in ends)
    for end in ends:
        os.close(end)
    return above


class Tab:
    """Use as a context: the browser ends with it."""

    def __init__(self, browser: str, profile: Path):
        commands, self._write = _pipe()
        self._read, answers = _pipe()
        words = [sys.executable, "-c", START, str(commands), str(answers), browser, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
        self._process = subprocess.Popen(words, pass_fds=(commands, answers), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(commands)
        os.close(answers)
        self._count, self._rest, self._session = 0, b"", None
        target = next(one for one in self.call("Target.getTargets")["targetInfos"] if one["type"] == "page")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.call("Page.enable")

    def __enter__(self) -> "Tab":
        return self

    def __exit__(self, *_) -> None:
        os.close(self._write)
        os.close(self._read)
        self._process.terminate()
        self._process.wait(30)

    def call(self, method: str, **params) -> dict:
        """The result of one command of the debugging protocol."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": params} | ({"sessionId": self._session} if self._session else {})
        os.write(self._write, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + PATIENCE_S
        while True:
            while b"\0" not in self._rest:
                ready, _, _ = select.select([self._read], [], [], max(0.0, deadline - time.monotonic()))
                content = os.read(self._read, 1 << 20) if ready else b""
                if not content:
                    raise RuntimeError(f"the browser gave no answer to {method} (ended with {self._process.poll()})")
                self._rest += content
            answer, self._rest = self._rest.split(b"\0", 1)
            found = json.loads(answer)
            if found.get("id") == self._count:
                if "error" in found:
                    raise RuntimeError(f"{method}: {found['error']['message']}")
                return found["result"]

    def run(self, script: str):
        """The value of an expression, awaited, in the page."""
        found = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in found:
            raise RuntimeError(found["exceptionDetails"].get("exception", {}).get("description", str(found)))
        return found["result"].get("value")

    def open(self, file: Path, *, width: int, height: int, phone: bool = False, before: str = "", **media: str) -> None:
        """Open a file at a size. `before` runs ahead of its scripts; `media` are features such as prefers_color_scheme="dark"."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone)
        self.call("Emulation.setTouchEmulationEnabled", enabled=phone)
        self.call("Emulation.setEmulatedMedia", features=[{"name": name.replace("_", "-"), "value": value} for name, value in media.items()])
        script = self.call("Page.addScriptToEvaluateOnNewDocument", source=before)["identifier"]
        self.call("Page.navigate", url=file.as_uri())
        while self.run("document.readyState") != "complete" or self.run("location.href") != file.as_uri():
            time.sleep(0.05)
        self.call("Page.removeScriptToEvaluateOnNewDocument", identifier=script)

    def key(self, key: str, text: str = "") -> None:
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, text=text)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key)

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        self.call("Input.dispatchMouseEvent", type="mousePressed", x=start[0], y=start[1], button="left", buttons=1, clickCount=1)
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=end[0], y=end[1], button="left", buttons=1)
        self.call("Input.dispatchMouseEvent", type="mouseReleased", x=end[0], y=end[1], button="left", clickCount=1)

    def wheel(self, x: float, y: float, delta: float) -> None:
        self.call("Input.dispatchMouseEvent", type="mouseWheel", x=x, y=y, deltaX=0, deltaY=delta)

    def fingers(self, *steps: list[tuple[float, float]]) -> None:
        """Fingers that touch at the first step's points, move through the next ones and leave."""
        for number, points in enumerate(steps):
            places = [{"x": x, "y": y, "id": finger} for finger, (x, y) in enumerate(points)]
            self.call("Input.dispatchTouchEvent", type="touchMove" if number else "touchStart", touchPoints=places)
        self.call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

    def picture(self) -> bytes:
        """What is to be seen, PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])
