"""A headless Chromium with a person before it: clicks what is written on a button, looks at each page in every
shape, and has axe-core look as well."""

import base64
import fcntl
import glob
import json
import os
import subprocess
import time

from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException, WebDriverException
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
OUT = os.path.join(os.environ.get("PEAL_TEST_OUT", os.path.join(TOP, "build-tests")), "browser")
AXE = "axe-core@4.10.3"
PHONE, DESKTOP = (390, 844), (1280, 860)
WAIT_S = 30
WHOLE = ("start", "group-pending", "group-owner", "member", "audit")


def axe_source():
    """axe.min.js, fetched once into the output directory, whichever test comes first."""
    path = os.path.join(OUT, "node_modules", "axe-core", "axe.min.js")
    os.makedirs(OUT, exist_ok=True)
    with open(os.path.join(OUT, "axe.lock"), "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.exists(path):
            done = subprocess.run(["npm", "install", "--prefix", OUT, "--no-save", "--no-audit", "--no-fund", AXE],
                                  capture_output=True, text=True, timeout=60)
            assert done.returncode == 0 and os.path.exists(path), f"{AXE} cannot be fetched: {done.stderr[-500:]}"
    with open(path, encoding="utf-8") as f:
        return f.read()


def is_gone(element):
    """No part of the page any more. Between two pages the driver also says that the node is of no document."""
    try:
        element.is_enabled()
        return False
    except WebDriverException as e:
        if isinstance(e, StaleElementReferenceException) or "does not belong to the document" in str(e):
            return True
        raise


class Chromium:
    def __init__(self, downloads, scripts=True):
        self.downloads, self.scripts, self.clicks, self.people, self.person = downloads, scripts, 0, {}, None
        self.problems, self.axe = [], axe_source() if scripts else None
        options = Options()
        options.binary_location = "/usr/bin/chromium"
        for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
                         "--disable-background-networking", "--hide-scrollbars", "--force-prefers-reduced-motion"):
            options.add_argument(argument)
        options.accept_insecure_certs = True
        preferences = {"download.default_directory": downloads, "download.prompt_for_download": False,
                       "credentials_enable_service": False}
        if not scripts:
            preferences["profile.managed_default_content_settings.javascript"] = 2
        options.add_experimental_option("prefs", preferences)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(service=Service("/usr/bin/chromedriver"), options=options)
        self.driver.set_page_load_timeout(WAIT_S)
        self.shape(DESKTOP)

    def close(self):
        self.driver.quit()

    def shape(self, size, dark=False):
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride",
                                    {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": False})
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]})

    # --- what a person does ---

    def become(self, name):
        """Somebody else sits down: each person has cookies of his own."""
        if self.person:
            self.people[self.person] = self.driver.get_cookies()
        self.driver.delete_all_cookies()
        for cookie in self.people.get(name, []):
            self.driver.add_cookie(cookie)
        self.person = name

    def arrive(self, before):
        """That page is gone, and the next one is there whole: the driver may look at the old one for a moment yet."""
        def is_there(driver):
            return is_gone(before) and driver.execute_script("return document.readyState") == "complete"
        WebDriverWait(self.driver, WAIT_S, 0.02).until(is_there)

    def go(self, url):
        before = self.driver.find_element(By.TAG_NAME, "html")
        self.driver.get(url)
        self.arrive(before)

    def all(self, css):
        return self.driver.find_elements(By.CSS_SELECTOR, css)

    def named(self, what, text, *tags):
        """The first visible element that has this text."""
        path = " | ".join(f"//{tag}[normalize-space()='{text}']" for tag in tags)
        for element in self.driver.find_elements(By.XPATH, path):
            if element.is_displayed():
                return element
        raise AssertionError(f"no {what} \"{text}\" on {self.driver.current_url}: {self.text()[:400]}")

    def click(self, text, leaves=True):
        """The button or link that has this text; waits for the page that it leads to, if it leaves this one."""
        element = self.named("button", text, "button", "a", "summary")
        self.clicks += 1
        page = self.driver.find_element(By.TAG_NAME, "html")
        element.click()
        if leaves:
            self.arrive(page)

    def field(self, label):
        return self.driver.find_element(By.ID, self.named("field", label, "label").get_attribute("for"))

    def fill(self, label, value):
        field = self.field(label)
        field.clear()
        field.send_keys(value)

    def select(self, label, choice):
        self.field(label).find_element(By.XPATH, f"option[normalize-space()='{choice}']").click()

    def press(self, *keys, leaves=False):
        page = self.driver.find_element(By.TAG_NAME, "html")
        webdriver.ActionChains(self.driver).send_keys(*keys).perform()
        if leaves:
            self.arrive(page)

    def focused(self):
        return self.driver.switch_to.active_element

    def tab_to(self, text, most=40):
        """Tab until what has the focus is called so; the focus must be visible wherever it stops."""
        for _ in range(most):
            self.press(Keys.TAB)
            element = self.focused()
            assert element.value_of_css_property("outline-style") != "none", f"invisible focus on {element.tag_name}"
            name = element.accessible_name
            if name == text:
                return element
        raise AssertionError(f"{most} tabs do not reach \"{text}\" on {self.driver.current_url}")

    def text(self):
        return self.driver.find_element(By.TAG_NAME, "body").text

    def sees(self, *words):
        text = self.text()
        for word in words:
            assert word in text, f"\"{word}\" is not on {self.driver.current_url}: {text[:600]}"

    def downloaded(self, pattern):
        """The newest file of that name, once it is whole."""
        until = time.monotonic() + WAIT_S
        while time.monotonic() < until:
            files = [f for f in glob.glob(os.path.join(self.downloads, pattern))
                     if not f.endswith(".crdownload") and os.path.getsize(f)]
            if files:
                with open(max(files, key=os.path.getmtime), encoding="utf-8") as f:
                    text = f.read()
                for path in files:
                    os.unlink(path)
                return text
            time.sleep(0.05)
        raise AssertionError(f"no {pattern} was downloaded")

    def read_qr(self):
        """What a camera before the screen would read."""
        path = self.picture("qr", self.downloads)
        done = subprocess.run(["zbarimg", "-q", "--raw", path], capture_output=True, text=True, timeout=20)
        assert done.returncode == 0, done.stderr
        return done.stdout

    # --- what is looked at ---

    def picture(self, name, folder=OUT):
        path = os.path.join(folder, name + ".png")
        shot = self.driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "format": "png"})
        with open(path, "wb") as f:
            f.write(base64.b64decode(shot["data"]))
        return path

    def look(self, name):
        """Pictures of the page on a phone, light, and on a desk, dark (of the pages in WHOLE in all four ways); nothing
        wider than the window; axe-core finds nothing serious in either colour; the content security policy had
        nothing to stop."""
        for shape, size, dark in (("phone", PHONE, False), ("phone-dark", PHONE, True), ("desktop", DESKTOP, False),
                                  ("desktop-dark", DESKTOP, True)):
            if name not in WHOLE and shape in ("phone-dark", "desktop"):
                continue
            self.shape(size, dark)
            wide = self.driver.execute_script("return document.documentElement.scrollWidth")
            if wide > size[0]:
                self.problems.append(f"{name}: {wide} pixels wide in a window of {size[0]}")
            self.picture(f"{name}-{shape}")
            if shape == "phone":
                self.ask_axe(f"{name} ({shape})", {})
            if shape == "desktop-dark":
                self.ask_axe(f"{name} ({shape})", {"runOnly": ["color-contrast"]})
        self.shape(DESKTOP)
        for entry in self.driver.get_log("browser"):
            if "Content Security Policy" in entry["message"]:
                self.problems.append(f"{name}: {entry['message']}")

    def ask_axe(self, name, options):
        if not self.driver.execute_script("return window.axe !== undefined"):
            self.driver.execute_script(self.axe)
        found = self.driver.execute_async_script(
            "const done = arguments[arguments.length - 1];"
            "axe.run(document, {resultTypes: ['violations'], ...arguments[0]})"
            ".then(r => done(JSON.stringify(r.violations)))", options)
        for violation in json.loads(found):
            if violation["impact"] in ("serious", "critical"):
                where = [node["html"][:200] for node in violation["nodes"]]
                self.problems.append(f"{name}: {violation['id']}: {violation['help']}: {where}")
