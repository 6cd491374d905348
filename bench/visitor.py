"""A person before a browser that nobody watches.

Playwright listens to the network of each page that it opens, and Chromium then copies every byte sent into a message to
it: uploads become ten times slower. So pages that are measured are opened past it, over a session of its browser
(https://chromedevtools.github.io/devtools-protocol), with nothing switched on but what is used here.
"""

import json
import time
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import Browser

LONG: Final = 900.0
"""Seconds that anything may take."""
EVERY: Final = 0.02
# Once for each step of the provider: who, and may the page know.
SIGN_IN = """(() => {
  const [user, password] = document.querySelectorAll("input[name=user], input[name=password]");
  if (user !== undefined) { user.value = "%s"; password.value = "pw-%s"; }
  [...document.querySelectorAll("button")].find((each) => ["Go", "Yes"].includes(each.textContent.trim()))?.click();
})()"""


class Visitor:
    """One page in a browser context of its own. `script` runs in it before all others."""

    def __init__(self, browser: Browser, origin: str, user: str, script: str) -> None:
        self.origin, self.user = origin, user
        self._session = browser.new_browser_cdp_session()
        self._session.on("Target.receivedMessageFromTarget", self._hear)
        self._answers: dict[int, Any] = {}
        self._count = 0
        self._context = self._session.send("Target.createBrowserContext")["browserContextId"]
        where = {"url": "about:blank", "browserContextId": self._context}
        self._page = self._attach(self._session.send("Target.createTarget", where)["targetId"])
        self._call("Page.enable")
        self._call("Page.addScriptToEvaluateOnNewDocument", source=script)

    def close(self) -> None:
        self._session.send("Target.disposeBrowserContext", {"browserContextId": self._context})
        self._session.detach()

    def go(self, place: str) -> None:
        """Open `#/…` or a link."""
        self._call("Page.navigate", url=place if place.startswith("http") else f"{self.origin}/{place}")
        self.wait("document.querySelector('.badge[data-state=verified]') !== null")

    def evaluate(self, expression: str) -> Any:
        """The value of an expression, waited for; as if a person had just clicked."""
        how = {"awaitPromise": True, "returnByValue": True, "userGesture": True}
        answer = self._call("Runtime.evaluate", expression=expression, **how)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{expression[:80]}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def wait(self, condition: str) -> None:
        """Until a condition holds."""
        until = time.monotonic() + LONG
        while not self.evaluate(condition):
            if time.monotonic() > until:
                raise TimeoutError(condition)
            time.sleep(EVERY)

    def choose(self, selector: str, file: Path) -> None:
        """Put a file into an input."""
        root = self._call("DOM.getDocument")["root"]["nodeId"]
        node = self._call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self._call("DOM.setFileInputFiles", nodeId=node, files=[str(file)])

    def write(self, label: str, words: str) -> None:
        """Type into a field."""
        self.evaluate(
            f"[...document.querySelectorAll('label')].find((each) => each.textContent === {json.dumps(label)})"
            ".control.focus()"
        )
        self._call("Input.insertText", text=words)

    def press(self, words: str) -> None:
        """Click the button that says so, as soon as there is one."""
        self.wait(f"bench.press({json.dumps(words)})")

    def sign_in(self) -> None:
        """In the window that the provider has opened, until it is gone."""
        opened, gone = False, False
        while not gone:
            time.sleep(0.1)
            targets = self._session.send("Target.getTargets")["targetInfos"]
            own = [one for one in targets if one["browserContextId"] == self._context and one["type"] == "page"]
            windows = [one["targetId"] for one in own if not one["url"].startswith((self.origin, "about:"))]
            gone = opened and len(own) == 1
            opened = opened or len(own) > 1
            for window in windows:
                self._in_window(window)

    def _in_window(self, target: str) -> None:
        window = self._attach(target)
        message = {"id": 0, "method": "Runtime.evaluate", "params": {"expression": SIGN_IN % (self.user, self.user)}}
        self._session.send("Target.sendMessageToTarget", {"sessionId": window, "message": json.dumps(message)})
        self._session.send("Target.detachFromTarget", {"sessionId": window})

    def _attach(self, target: str) -> str:
        return str(self._session.send("Target.attachToTarget", {"targetId": target, "flatten": False})["sessionId"])

    def _call(self, method: str, **parameters: Any) -> Any:
        self._count += 1
        message = json.dumps({"id": self._count, "method": method, "params": parameters})
        self._session.send("Target.sendMessageToTarget", {"sessionId": self._page, "message": message})
        while self._count not in self._answers:
            time.sleep(EVERY)
            self._session.send("Browser.getVersion")  # while it waits for this, it hears the answer
        answer = self._answers.pop(self._count)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def _hear(self, event: Any) -> None:
        message = json.loads(event["message"])
        if event["sessionId"] == self._page and "id" in message:
            self._answers[message["id"]] = message
