"""A headless Chromium, spoken to through a pipe: what a page says on the console, loads, shows and measures."""

import base64
import json
import os
import select
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager, suppress

PATIENCE = 60
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


_CONTRAST = """
within => {
  const parse = c => c.match(/[\\d.]+/g).map(Number);
  const linear = v => v / 255 <= .03928 ? v / 255 / 12.92 : ((v / 255 + .055) / 1.055) ** 2.4;
  const light = c => { const [r, g, b] = c.map(linear);
    return .2126 * r + .7152 * g + .0722 * b; };
  const behind = e => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor);
    if (c.length < 4 || c[3] > 0) return c.slice(0, 3); } return [255, 255, 255]; };
  const worst = {};
  for (const e of document.querySelectorAll(within + ' *')) {
    if (![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()) || !e.checkVisibility()) continue;
    const a = light(parse(getComputedStyle(e).color).slice(0, 3)), b = light(behind(e));
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    const name = e.tagName + '.' + e.className;
    if (!(worst[name] <= ratio)) worst[name] = ratio;
  }
  return worst;
}
"""


def find():
    """The browser's file, None where there is none."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class Browser:
    """One tab of a browser."""

    def __init__(self, send, receive):
        self._send, self._receive = send, receive
        self._number = 0
        self._buffer = b""
        self.events = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    _session = None

    def call(self, method, **parameters):
        """Send a command and return its result; what happens meanwhile goes to ``events``."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._send, json.dumps(message).encode() + b"\0")
        while True:
            got = self._next()
            if got.get("id") == self._number:
                assert "error" not in got, (method, got["error"])
                return got["result"]
            self.events.append(got)

    def _next(self):
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._receive], [], [], PATIENCE)
            assert ready, f"the browser says nothing for {PATIENCE} s: does it ask the user something?"
            piece = os.read(self._receive, 1 << 16)
            assert piece, "the browser has gone"
            self._buffer += piece
        line, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(line)

    def open(self, file, width=1280, height=900, dark=False):
        """Open a file in a window of some size and wait until all of it is there."""
        self.events.clear()
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Page.navigate", url=file.resolve().as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._next())
        self.ask("Promise.all([...document.images].map(i => i.decode().catch(() => 0))).then(() => 1)")

    def ask(self, expression):
        """The value of an expression in the page."""
        got = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in got, got
        return got["result"].get("value")

    def wait(self, expression, seconds=20):
        """Ask until it is true."""
        end = time.monotonic() + seconds
        while not self.ask(expression):
            assert time.monotonic() < end, f"not within {seconds} s: {expression}"
            time.sleep(0.01)

    def press(self, *keys):
        """Press keys by their names, one after the other; a capital letter or a sign is what is typed."""
        for key in keys:
            name, shift = (
                key.removeprefix("Shift+"),
                key.startswith("Shift+") or (len(key) == 1 and key.isupper()),
            )
            text = {"Enter": "\r", "Space": " "}.get(name, name if len(name) == 1 else "")
            code = {"Enter": 13, "Space": 32, "Escape": 27, "Tab": 9}.get(name, 0)
            what = {
                "key": " " if name == "Space" else name,
                "modifiers": 8 * shift,
                "windowsVirtualKeyCode": code,
            }
            kind = "keyDown" if text else "rawKeyDown"
            self.call("Input.dispatchKeyEvent", type=kind, text=text, **what)
            self.call("Input.dispatchKeyEvent", type="keyUp", **what)

    def drag(self, *places, button="left"):
        """Press a mouse button at the first place (x, y) and let it go at the last."""
        kinds = ["mouseMoved", "mousePressed", *["mouseMoved"] * (len(places) - 1), "mouseReleased"]
        for kind, (x, y) in zip(kinds, [places[0], *places, places[-1]], strict=True):
            held = {} if kind == "mouseMoved" and (x, y) == places[0] else {"button": button, "buttons": 1}
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, clickCount=1, **held)

    def choose_file(self, selector, file):
        """Put a file into an input of files."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", files=[str(file)], nodeId=node)

    def save_downloads(self, folder):
        """Let downloads go to a folder."""
        self.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder))

    def nameless(self):
        """Controls that a screen reader has no name for."""
        roles = {"button", "link", "checkbox", "radio", "combobox", "slider", "searchbox", "textbox", "img"}
        nodes = self.call("Accessibility.getFullAXTree")["nodes"]
        return [
            node["role"]["value"]
            for node in nodes
            if not node["ignored"]
            and node["role"]["value"] in roles
            and not node.get("name", {}).get("value", "").strip()
        ]

    def faint(self, within):
        """Text below WCAG AA, 4.5 to 1 against the nearest background that is painted: tag and class with its ratio."""
        ratios = self.ask(f"({_CONTRAST})({json.dumps(within)})")
        assert len(ratios) > 10
        return {name: ratio for name, ratio in ratios.items() if ratio < 4.5}

    def complaints(self):
        """Everything on the console, and exceptions."""
        kinds = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
        return [event for event in self.events if event.get("method") in kinds]

    def requests(self):
        """Addresses that were asked for."""
        asked = [
            e["params"]["request"]["url"]
            for e in self.events
            if e.get("method") == "Network.requestWillBeSent"
        ]
        return [address for address in asked if not address.startswith("data:")]

    def picture(self, file, top=0):
        """Take a picture of the whole page."""
        height = min(int(self.ask("document.documentElement.scrollHeight")), 16000)
        width = int(self.ask("innerWidth"))
        clip = {"x": 0, "y": top, "width": width, "height": height, "scale": 1}
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        file.write_bytes(base64.b64decode(shot["data"]))


@contextmanager
def browser(folder):
    """Start a browser with an empty profile in a folder; end it and nothing else afterwards."""
    to_read, to_write = os.pipe()
    from_read, from_write = os.pipe()

    def pipes():
        os.dup2(to_read, 3)
        os.dup2(from_write, 4)

    words = [
        *(find(), "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
        *("--disable-extensions", "--disable-background-networking", f"--user-data-dir={folder}"),
        *("--remote-debugging-pipe", "--disable-sync", "--mute-audio", "about:blank"),
    ]
    process = subprocess.Popen(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=pipes,
        pass_fds=(3, 4),
        start_new_session=True,
    )
    os.close(to_read)
    os.close(from_write)
    try:
        yield Browser(to_write, from_read)
    finally:
        os.close(to_write)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        os.close(from_read)
