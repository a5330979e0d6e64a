"""Makes the requests of a plan with one of Python's own clients.

usage: client.py http.client|urllib BASE PLAN.json DIR

Prints one JSON object a request and leaves each response's body in DIR.
"""

import http.client
import json
import os
import sys
import urllib.error
import urllib.parse
import urllib.request


class KeepRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args, **kwargs):
        return None


def body_of(item):
    if not item["body"]:
        return None
    with open(item["body"], "rb") as f:
        return f.read()


def pieces(data):
    for i in range(0, len(data), 1000):
        yield data[i : i + 1000]


def with_http_client(base):
    host = urllib.parse.urlsplit(base).netloc
    conn = http.client.HTTPConnection(host, timeout=30)

    def ask(item):
        data = body_of(item)
        chunked = bool(item["chunked"] and data)
        conn.request(
            item["method"],
            item["target"],
            body=pieces(data) if chunked else data,
            headers=dict(item["header"], **({"Transfer-Encoding": "chunked"} if chunked else {})),
            encode_chunked=chunked,
        )
        resp = conn.getresponse()
        return resp.status, resp.read()

    return ask


def with_urllib(base):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), KeepRedirects)

    def ask(item):
        data = body_of(item)
        req = urllib.request.Request(
            base + item["target"], data=data, headers=item["header"], method=item["method"]
        )
        try:
            with opener.open(req, timeout=30) as resp:
                return resp.status, resp.read()
        except urllib.error.HTTPError as e:
            return e.code, e.read()

    return ask


def main():
    kind, base, plan, folder = sys.argv[1:]
    ask = {"http.client": with_http_client, "urllib": with_urllib}[kind](base)
    with open(plan) as f:
        items = json.load(f)
    for item in items:
        out = {"id": item["id"], "status": 0, "exit": 0, "error": ""}
        try:
            out["status"], data = ask(item)
            with open(os.path.join(folder, item["id"] + ".in"), "wb") as f:
                f.write(data)
        except Exception as e:
            out["exit"], out["error"] = 1, repr(e)
        print(json.dumps(out), flush=True)


main()
