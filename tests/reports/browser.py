"""Chromium under test: the few commands of W3C WebDriver that are needed, over plain HTTP."""

import base64
import contextlib
import json
import re
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

BINARIES = tuple(shutil.which(name) for name in ("chromium", "chromedriver"))
SECONDS = 60  # for one answer of the browser; then it is broken
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-sync", "--disable-background-networking", "--disable-component-update"),
    *("--disable-dev-shm-usage", "--hide-scrollbars"),
]


class Browser:
    """One window. Every method raises OSError where the browser does not answer in time."""

    def __init__(self, address: str, profile: Path):
        self.address = address
        options = {"binary": BINARIES[0], "args": [*FLAGS, f"--user-data-dir={profile}"]}
        wishes = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        made = self._ask("session", {"capabilities": {"alwaysMatch": wishes}})
        self.address = f"{address}/session/{made['sessionId']}"

    def open(self, path: Path) -> None:
        self._ask("url", {"url": path.resolve().as_uri()})

    def reload(self) -> None:
        self._ask("refresh", {})

    def run(self, code: str):
        """The value that a piece of JavaScript returns."""
        return self._ask("execute/sync", {"script": code, "args": []})

    def click(self, css: str) -> None:
        self._ask(f"element/{self._find(css)}/click", {})

    def type(self, css: str, text: str) -> None:
        self._ask(f"element/{self._find(css)}/value", {"text": text})

    def messages(self) -> list[str]:
        """What the console has said since the last call, errors of the page too."""
        return [entry["message"] for entry in self._ask("se/log", {"type": "browser"})]

    def look(self, width: int = 1200, height: int = 900, dark: bool = False) -> None:
        """The size of the window, and the colours that its user wants."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self._devtools("Emulation.setDeviceMetricsOverride", size)
        wish = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._devtools("Emulation.setEmulatedMedia", {"features": [wish]})

    def picture(self, path: Path, whole: bool = False) -> Path:
        """Writes what the window shows, or the whole page, as PNG."""
        taken = self._devtools("Page.captureScreenshot", {"captureBeyondViewport": whole})
        path.write_bytes(base64.b64decode(taken["data"]))
        return path

    def _find(self, css: str) -> str:
        return next(iter(self._ask("element", {"using": "css selector", "value": css}).values()))

    def _devtools(self, command: str, parameters: dict):
        return self._ask("goog/cdp/execute", {"cmd": command, "params": parameters})

    def _ask(self, command: str, body: dict):
        headers = {"Content-Type": "application/json"}
        address = f"{self.address}/{command}"
        return _value(urllib.request.Request(address, json.dumps(body).encode(), headers))

    def close(self) -> None:
        _value(urllib.request.Request(self.address, method="DELETE"))


def _value(request: urllib.request.Request):
    """What the driver answers; a proxy of the environment has no part in it."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=SECONDS) as answer:
            return json.load(answer)["value"]
    except urllib.error.HTTPError as error:
        with error:
            raise OSError(json.load(error)["value"]["message"].splitlines()[0]) from None


@contextlib.contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """A browser with an empty profile; ended afterwards, whatever happened."""
    driver = subprocess.Popen(
        [str(BINARIES[1]), "--port=0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    with driver:
        try:
            said = (re.search(r"successfully on port (\d+)", line) for line in driver.stdout)
            port = next(match[1] for match in said if match)
            window = Browser(f"http://127.0.0.1:{port}", profile)
            try:
                yield window
            finally:
                window.close()
        finally:
            driver.terminate()
