"""Serves the files of a folder, and answers a body with its hash.

usage: server.py PORT DIR

HTTP/1.1 on Python's own ThreadingHTTPServer. Writes one JSON object a request
to its standard error.
"""

import hashlib
import http.server
import json
import os
import sys
import urllib.parse

port, folder = int(sys.argv[1]), sys.argv[2]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if self.request_version == "HTTP/1.0" and not self.close_connection:
            # Such a client waits for the end of the connection otherwise.
            self.send_header("Connection", "keep-alive")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self):
        name = os.path.join(folder, urllib.parse.urlsplit(self.path).path.lstrip("/"))
        if not os.path.isfile(name):
            return self.answer(404, b"there is no such file\n")
        with open(name, "rb") as f:
            self.answer(200, f.read())

    do_HEAD = do_GET

    def do_POST(self):
        body = b""
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            while n := int(self.rfile.readline(), 16):
                body += self.rfile.read(n)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.answer(200, (hashlib.sha256(body).hexdigest() + "\n").encode())

    def log_request(self, code="-", size="-"):
        sys.stderr.write(json.dumps({"method": self.command, "target": self.path, "status": int(code)}) + "\n")

    def log_message(self, *args):
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128


Server(("127.0.0.1", port), Handler).serve_forever()
