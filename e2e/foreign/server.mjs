// Serves the files of a folder, and answers a body with its hash.
//
// usage: server.mjs PORT DIR
//
// Writes one JSON object a request to its standard error.
import crypto from "node:crypto";
import fs from "node:fs";
import http from "node:http";
import path from "node:path";

const [port, folder] = process.argv.slice(2);

const server = http.createServer((req, resp) => {
  const answer = (status, body) => {
    process.stderr.write(JSON.stringify({ method: req.method, target: req.url, status }) + "\n");
    resp.writeHead(status);
    resp.end(body);
  };
  if (req.method === "POST") {
    const hash = crypto.createHash("sha256");
    req.on("data", (d) => hash.update(d));
    req.on("end", () => answer(200, hash.digest("hex") + "\n"));
    return;
  }
  fs.readFile(path.join(folder, new URL(req.url, "http://x").pathname), (err, data) => {
    if (err) answer(404, "there is no such file\n");
    else answer(200, data);
  });
});
server.keepAliveTimeout = 60_000;
server.listen(Number(port), "127.0.0.1");
