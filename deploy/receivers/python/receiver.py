"""Receives webhooks of xacam with nothing but Python. Copy it and change handle."""

import base64
import hashlib
import hmac
import json
import os
import re
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOLERANCE = 300  # seconds
MAX_BODY = 64 * 1024

keys = [base64.b64decode(s[6:] if s.startswith("whsec_") else s) for s in os.environ.get("WEBHOOK_SECRET", "").split()]
if not keys or min(map(len, keys)) < 24:
    sys.exit("WEBHOOK_SECRET is not whsec_…")
path = os.environ.get("EVENTS_FILE", "events.jsonl")

lock = threading.Lock()
seen = set()  # of a receiver that runs for years: a table with a unique key
if os.path.exists(path):
    with open(path, encoding="utf-8", errors="replace") as f:
        for line in f:
            try:
                seen.add(json.loads(line)["webhook_id"])
            except ValueError:
                pass  # half a line, never answered
out = open(path, "ab", buffering=0)
if out.tell() > 0:
    with open(path, "rb") as f:
        f.seek(-1, os.SEEK_END)
        if f.read(1) != b"\n":
            out.write(b"\n")  # ends the half line


def verified(headers, body):
    ident, stamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not ident or not re.fullmatch(r"[0-9]{1,15}", stamp) or abs(time.time() - int(stamp)) > TOLERANCE:
        return False
    content = ident.encode() + b"." + stamp.encode() + b"." + body
    wanted = [base64.b64encode(hmac.new(k, content, hashlib.sha256).digest()) for k in keys]
    ok = False
    for one in headers.get("webhook-signature", "").split(" "):
        version, _, signature = one.partition(",")
        for want in wanted:
            ok |= version == "v1" and hmac.compare_digest(signature.encode(), want)
    return ok


def handle(ident, body):
    """Stores an event once."""
    with lock:
        if ident in seen:
            return
        line = json.dumps({"webhook_id": ident, "body": body.decode("utf-8", "replace")}).encode() + b"\n"
        if out.write(line) != len(line):
            out.write(b"\n")  # ends the half line
            raise OSError("the disk is full")
        os.fsync(out.fileno())
        seen.add(ident)


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 10

    def answer(self, status):
        self.send_response(status)
        if status != 204:
            self.send_header("Content-Length", "0")
        self.end_headers()

    def do_POST(self):
        length = self.headers.get("Content-Length", "")
        if not re.fullmatch(r"[0-9]{1,9}", length) or int(length) > MAX_BODY:
            self.close_connection = True
            self.answer(413)
            return
        body = self.rfile.read(int(length))
        if not verified(self.headers, body):
            self.answer(401)
            return
        handle(self.headers["webhook-id"], body)  # an exception hangs up: xacam tries again
        self.answer(204)

    def log_message(self, *args):
        pass


ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "9090"))), Receiver).serve_forever()
