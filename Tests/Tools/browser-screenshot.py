#!/usr/bin/env python3
"""Has a headless Chromium show a display's page, and saves a picture of it when the first update is drawn.

    browser-screenshot.py BROWSER URL FILE.png WIDTH HEIGHT

Talks to the browser by its debugging pipe: JSON, each message ended by a zero byte.
"""
import base64
import json
import os
import subprocess
import sys
import tempfile

# Resolves when the page has drawn an update: events, no clock.
DRAWN = """
new Promise(resolve => {
  const canvas = document.getElementById("screen");
  const look = () => { if (canvas.dataset.updates) requestAnimationFrame(() => requestAnimationFrame(resolve)); };
  new MutationObserver(look).observe(canvas, {attributes: true});
  look();
})
"""


class Browser:
    def __init__(self, path, folder):
        here_read, there_write = os.pipe()
        there_read, here_write = os.pipe()
        # The browser wants them as 3 and 4.
        command = f'exec "$@" 3<&{there_read} 4>&{there_write}'
        self.process = subprocess.Popen(
            ["bash", "-c", command, "bash", path, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
             "--disable-dev-shm-usage", "--force-device-scale-factor=1", "--force-color-profile=srgb",
             f"--user-data-dir={folder}", "--remote-debugging-pipe"],
            pass_fds=[there_read, there_write], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
        os.close(there_read)
        os.close(there_write)
        self.input = os.fdopen(here_read, "rb")
        self.output = os.fdopen(here_write, "wb")
        self.last = 0
        self.session = None
        self.buffer = b""

    def receive(self):
        while b"\0" not in self.buffer:
            part = self.input.read1(65536)
            if not part:
                raise SystemExit("the browser has ended: " + self.process.stderr.read().decode(errors="replace"))
            self.buffer += part
        message, _, self.buffer = self.buffer.partition(b"\0")
        return json.loads(message)

    def ask(self, method, **parameters):
        self.last += 1
        message = {"id": self.last, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        self.output.write(json.dumps(message).encode() + b"\0")
        self.output.flush()
        while True:
            answer = self.receive()
            if answer.get("id") == self.last:
                if "error" in answer:
                    raise SystemExit(f"{method}: {answer['error']}")
                return answer["result"]

    def wait(self, method):
        while self.receive().get("method") != method:
            pass

    def end(self):
        self.process.kill()
        self.process.wait()


def main():
    path, url, file, width, height = sys.argv[1:]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        browser = Browser(path, folder)
        try:
            target = browser.ask("Target.createTarget", url="about:blank")["targetId"]
            browser.session = browser.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            browser.ask("Emulation.setDeviceMetricsOverride", width=int(width), height=int(height),
                        deviceScaleFactor=1, mobile=False)
            browser.ask("Page.enable")
            browser.ask("Page.navigate", url=url)
            browser.wait("Page.loadEventFired")
            result = browser.ask("Runtime.evaluate", expression=DRAWN, awaitPromise=True)
            if "exceptionDetails" in result:
                raise SystemExit(str(result["exceptionDetails"]))
            picture = browser.ask("Page.captureScreenshot", format="png")["data"]
        finally:
            browser.end()
    with open(file, "wb") as output:
        output.write(base64.b64decode(picture))


main()
