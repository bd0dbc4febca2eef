#!/usr/bin/env python3
"""A web server on 127.0.0.1 that does what each URL's query says; its first line of output is its port.

    status=N            answer with this status (200)
    body=TEXT, size=N   the body; N bytes of "x" instead. body=@count: how many requests this URL saw
    etag, modified, disposition, location, encoding
                        these headers, as given; location=@self is this URL
    fail=N,code=C,after=S
                        the first N requests get status C, with Retry-After S if given; who comes back
                        sooner gets 400
    torn=N              the first N requests get 100 of 200 bytes and a closed connection
    since=1             heed If-Modified-Since; If-None-Match is heeded unless naive=1
    cut=N               close the connection after N bytes of the body
    hold=1              ... keep it open instead, until the client goes
    chunked=1           send the body in chunks, without Content-Length
    echo=NAME           the body is this header of the request

    early=1             (a request with a body) answer without reading it

A body of POST, PUT or PATCH is answered by "METHOD LENGTH SHA256". /seen?PATH tells how many requests PATH
(with its query) got, /bytes?PATH how many bytes of body went out, /connections how many connections were made.
Usage: http_server.py [CERTIFICATE KEY]
"""

import collections
import gzip
import hashlib
import http.server
import socketserver
import ssl
import sys
import time
import urllib.parse

seen = collections.Counter()
sent = collections.Counter()
not_before = {}
connections = 0


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def plain(self, text):
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def unchanged(self, q):
        if "etag" in q and "naive" not in q:
            return self.headers.get("If-None-Match") == q["etag"]
        return "since" in q and self.headers.get("If-Modified-Since") == q["modified"]

    def body(self, q):
        if "echo" in q:
            return (self.headers.get(q["echo"]) or "none").encode()
        text = q.get("body", "hello\n")
        body = str(seen[self.path]).encode() if text == "@count" else text.encode()
        body = b"x" * int(q["size"]) if "size" in q else body
        return gzip.compress(body) if q.get("encoding") == "gzip" else body

    def fail(self, q):
        self.send_response(int(q.get("code", 500)))
        if "after" in q:
            not_before[self.path] = time.monotonic() + int(q["after"])
            self.send_header("Retry-After", q["after"])
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"sorry")

    def setup(self):
        global connections
        connections += 1
        super().setup()

    def handle_expect_100(self):
        if "early=1" in self.path:
            self.do_PUT()
            return False
        return super().handle_expect_100()

    def do_HEAD(self):
        self.do_GET()

    def do_PUT(self):
        q = dict(urllib.parse.parse_qsl(self.path.partition("?")[2]))
        seen[self.path] += 1
        if "early" in q:
            self.close_connection = True
            return self.fail({"code": q["status"]})
        if seen[self.path] <= int(q.get("fail", 0)):
            self.close_connection = True
            return self.fail(q)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(int(q.get("status", 200)))
        if "location" in q:
            self.send_header("Location", q["location"])
        self.send_body({}, f"{self.command} {len(body)} {hashlib.sha256(body).hexdigest()}".encode())

    do_POST = do_PATCH = do_PUT

    def do_DELETE(self):
        self.plain("DELETE")

    def do_GET(self):
        path, _, query = self.path.partition("?")
        if path == "/connections":
            return self.plain(str(connections))
        if path == "/seen":
            return self.plain(str(seen[query]))
        if path == "/bytes":
            return self.plain(str(sent[query]))
        seen[self.path] += 1
        q = dict(urllib.parse.parse_qsl(query))
        if seen[self.path] <= int(q.get("fail", 0)):
            return self.fail(q)
        if time.monotonic() < not_before.get(self.path, 0):
            q["status"] = "400"
        if seen[self.path] <= int(q.get("torn", 0)):
            q.update(size="200", cut="100")
        self.send_response(304 if self.unchanged(q) else int(q.get("status", 200)))
        for name, header in (("etag", "ETag"), ("modified", "Last-Modified"), ("location", "Location"),
                             ("disposition", "Content-Disposition"), ("encoding", "Content-Encoding")):
            if name in q:
                self.send_header(header, self.path if q[name] == "@self" else q[name])
        if self.unchanged(q):
            return self.end_headers()
        self.send_body(q, self.body(q))

    def send_body(self, q, body):
        if "chunked" in q:
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body, b""))
        else:
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
        if self.command == "HEAD":
            return
        part = body[:int(q["cut"])] if "cut" in q else body
        sent[self.path] += len(part)
        self.wfile.write(part)
        self.wfile.flush()
        if "hold" in q:
            self.rfile.read(1)
        if "cut" in q:
            self.close_connection = True


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass  # clients of these tests hang up whenever they like


def main():
    server = Server(("127.0.0.1", 0), Handler)
    if len(sys.argv) == 3:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(sys.argv[1], sys.argv[2])
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
