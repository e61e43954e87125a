"""What tests of peal-ca stand on: the real program, machines that enrol, and a browser without scripts."""

import base64
import html.parser
import http.client
import http.server
import json
import os
import re
import signal
import sqlite3
import ssl
import subprocess
import threading
import time
import urllib.parse

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PEAL_CA = os.path.join(os.environ.get("PEAL_BUILD", os.path.join(TOP, "build")), "bin", "peal-ca")
FORM = "application/x-www-form-urlencoded"


class Answer:
    def __init__(self, response):
        self.status, self.body = response.status, response.read()
        self.headers = response.headers

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def code(self):
        return self.json["error"]["code"]

    @property
    def text(self):
        return self.body.decode()


class Ca:
    """A data directory, its commands and, between start() and stop(), the service."""

    def __init__(self, data):
        self.data, self.process, self.log, self.port = data, None, "", None

    def run(self, *args, check=True, **kw):
        done = subprocess.run([PEAL_CA, *args, "--data", self.data], capture_output=True, text=True,
                              timeout=60, **kw)
        if check and done.returncode:
            raise AssertionError(f"{args}: {done.returncode}: {done.stderr}")
        return done

    def start(self, *args, listen="127.0.0.1:0", env=None):
        self.log = ""
        self.process = subprocess.Popen([PEAL_CA, "serve", "--data", self.data, "--listen", listen,
                                         *args], stderr=subprocess.PIPE, text=True, env=env)
        self.reader = threading.Thread(target=self.collect, args=(self.process,), daemon=True)
        self.reader.start()
        until = time.monotonic() + 15
        while "listening on" not in self.log:
            assert self.process.poll() is None and time.monotonic() < until, self.log
            time.sleep(0.02)
        self.port = int(re.search(r"listening on https://\S+:(\d+)", self.log).group(1))
        return self

    def collect(self, process):
        for line in process.stderr:
            self.log += line

    def stop(self, with_signal=signal.SIGTERM):
        if self.process:
            self.process.send_signal(with_signal)
            status = self.process.wait(20)
            self.reader.join(5)
            self.process = None
            return status

    def connect(self, timeout=20):
        """Trusts the service's own certificate and nothing else, and checks the name."""
        context = ssl.create_default_context(cafile=os.path.join(self.data, "tls.crt"))
        return http.client.HTTPSConnection("127.0.0.1", self.port, context=context, timeout=timeout)

    def http(self, method, path, body=None, headers=None, timeout=20):
        connection = self.connect(timeout)
        connection.request(method, path, body, headers or {})
        answer = Answer(connection.getresponse())
        connection.close()
        return answer

    def post(self, path, value):
        return self.http("POST", path, json.dumps(value), {"Content-Type": "application/json"})

    def sql(self, statement, *values):
        db = sqlite3.connect(os.path.join(self.data, "peal-ca.sqlite"))
        try:
            return db.execute(statement, values).fetchall()
        finally:
            db.close()

    def state(self):
        """Everything in the database, but for what a log-in page may touch."""
        db = sqlite3.connect(os.path.join(self.data, "peal-ca.sqlite"))
        try:
            names = "SELECT name FROM sqlite_master WHERE type = 'table'"
            tables = [r[0] for r in db.execute(names)]
            return {t: db.execute(f"SELECT * FROM {t}").fetchall() for t in tables}
        finally:
            db.close()

    def user(self, name, *options, password=None):
        if password:
            path = os.path.join(os.path.dirname(self.data), name + ".password")
            with open(path, "w", encoding="ascii") as f:
                f.write(password + "\nsecond line\n")
            options += ("--password-file", path)
        self.run("user", "add", name, "--email", name + "@example.org", *options)

    def member(self, group, user):
        self.user(user)
        self.run("member", "request", group, user)
        self.run("member", "approve", group, user)

    def blob(self, group, user):
        return json.loads(self.run("blob", group, user).stdout)


class ReverseProxy(http.server.ThreadingHTTPServer):
    """Speaks TLS with clients under a certificate of its own, and again with the service. Says from whom each request
    is: appends to the client's X-Forwarded-For, or adds a line of that name."""

    daemon_threads = True

    def __init__(self, ca, folder, appends):
        super().__init__(("127.0.0.1", 0), ProxiedRequest)
        self.ca, self.appends = ca, appends
        certificate, key = os.path.join(folder, "proxy.crt"), os.path.join(folder, "proxy.key")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                        "-keyout", key, "-out", certificate, "-subj", "/CN=proxy", "-addext",
                        "subjectAltName=IP:127.0.0.1"], check=True, stderr=subprocess.DEVNULL)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self.socket = context.wrap_socket(self.socket, server_side=True)
        self.trust = ssl.create_default_context(cafile=certificate)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def client(self, address):
        return ProxyClient(self, address)


class ProxiedRequest(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def pass_on(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        heard, service = self.client_address[0], self.server.ca.connect()
        service.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() != "connection" and not (name == "X-Forwarded-For" and self.server.appends):
                service.putheader(name, value)
        said = self.headers.get("X-Forwarded-For") if self.server.appends else None
        service.putheader("X-Forwarded-For", f"{said}, {heard}" if said else heard)
        service.endheaders(body)
        answer = service.getresponse()
        page = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("connection", "content-length", "date"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)
        service.close()

    do_GET = do_POST = pass_on

    def log_message(self, *args):
        pass


class ProxyClient:
    """What Browser asks, from an address of its own."""

    def __init__(self, proxy, address):
        self.proxy, self.address, self.port = proxy, address, proxy.server_address[1]

    def http(self, method, path, body=None, headers=None):
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=self.proxy.trust, timeout=20,
                                                 source_address=(self.address, 0))
        connection.request(method, path, body, headers or {})
        answer = Answer(connection.getresponse())
        connection.close()
        return answer


class Key:
    """A machine's key and its certificate request, made by openssl."""

    def __init__(self, folder, algorithm=("ed25519",)):
        self.path = os.path.join(folder, base64.b32encode(os.urandom(10)).decode())
        subprocess.run(["openssl", "genpkey", "-algorithm", *algorithm, "-out", self.path],
                       check=True, stderr=subprocess.DEVNULL)
        self.csr = subprocess.run(["openssl", "req", "-new", "-key", self.path, "-subj", "/CN=ws"],
                                  check=True, capture_output=True, text=True).stdout


def openssl(*args, stdin=b""):
    done = subprocess.run(["openssl", *args], input=stdin, capture_output=True)
    return done.returncode, (done.stdout + done.stderr).decode()


def enrol(ca, blob, key, **other):
    ask = {"group": blob["group"], "user": blob["user"], "secret": blob["secret"], "csr": key.csr}
    return ca.post("/api/v1/enroll", {**ask, **other})


def until_refused(ask, seconds):
    """Asks until the answer is 429 and will be for so many seconds more, since a limit lets one in every now and then;
    how many were answered otherwise, each with 401, and how many with 429."""
    let_in = refused = 0
    while True:
        answer = ask()
        if answer.status != 429:
            assert answer.status == 401 and let_in < 60
            let_in += 1
            continue
        refused += 1
        assert int(answer.headers["Retry-After"]) >= 1
        if int(answer.headers["Retry-After"]) >= seconds:
            return let_in, refused
        time.sleep(0.1)


class Forms(html.parser.HTMLParser):
    def __init__(self, page):
        super().__init__()
        self.forms, self.words = [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        assert tag != "script" and not [a for a in attrs if a.startswith("on")]
        if tag == "form":
            self.forms.append({"action": attrs["action"], "fields": {}})
        if tag in ("input", "textarea", "select"):
            self.forms[-1]["fields"][attrs["name"]] = attrs.get("value", "")

    def handle_data(self, data):
        self.words.append(data)


class Browser:
    """Keeps cookies, follows no redirect by itself, fills forms in."""

    def __init__(self, ca):
        self.ca, self.cookies, self.page = ca, {}, None

    def ask(self, method, path, body=None, **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.cookies:
            headers["Cookie"] = "; ".join(f"{n}={v}" for n, v in self.cookies.items())
        self.page = self.ca.http(method, path, body, headers)
        for cookie in self.page.headers.get_all("Set-Cookie") or []:
            assert re.fullmatch(r"__Host-peal(-form)?=[\w-]*; Path=/; Secure; HttpOnly; "
                                r"SameSite=Strict(; Max-Age=0)?", cookie)
            name, value = cookie.split(";")[0].split("=")
            self.cookies[name] = value
        return self.page

    def get(self, path):
        return self.ask("GET", path)

    def form(self, action):
        return next(f["fields"] for f in Forms(self.page.text).forms if f["action"] == action)

    def submit(self, action, to=None, **values):
        body = urllib.parse.urlencode({**self.form(action), **values})
        return self.ask("POST", to or action, body, Content_Type=FORM,
                        Origin=f"https://127.0.0.1:{self.ca.port}")

    def register(self, name, password="correct horse"):
        self.get("/")
        page = self.submit("/register", name=name, email=name + "@example.org", password=password)
        assert page.status == 303, page.text
        return self
