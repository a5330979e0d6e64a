// Makes the requests of a plan with one of Node's own clients.
//
// usage: client.mjs http|fetch BASE PLAN.json DIR
//
// Prints one JSON object a request and leaves each response's body in DIR.
import fs from "node:fs";
import http from "node:http";
import path from "node:path";

const [kind, base, plan, folder] = process.argv.slice(2);
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });

function* pieces(data) {
  for (let i = 0; i < data.length; i += 1000) yield data.subarray(i, i + 1000);
}

function withHTTP(item, data) {
  return new Promise((resolve, reject) => {
    const url = new URL(base);
    const headers = { ...item.header };
    if (data && !item.chunked) headers["Content-Length"] = data.length;
    const req = http.request(
      { agent, host: url.hostname, port: url.port, method: item.method, path: item.target, headers, timeout: 30_000 },
      (resp) => {
        const got = [];
        resp.on("data", (d) => got.push(d));
        resp.on("end", () => resolve([resp.statusCode, Buffer.concat(got)]));
        resp.on("error", reject);
      },
    );
    req.on("error", reject);
    req.on("timeout", () => req.destroy(new Error("timeout")));
    // Several writes without a length go out in chunks.
    if (data && item.chunked) for (const p of pieces(data)) req.write(p);
    else if (data) req.write(data);
    req.end();
  });
}

async function withFetch(item, data) {
  const body = data && item.chunked ? ReadableStream.from(pieces(data)) : (data ?? undefined);
  const resp = await fetch(base + item.target, {
    method: item.method,
    headers: item.header,
    body,
    duplex: "half",
    redirect: "manual",
    signal: AbortSignal.timeout(30_000),
  });
  return [resp.status, Buffer.from(await resp.arrayBuffer())];
}

const ask = { http: withHTTP, fetch: withFetch }[kind];
for (const item of JSON.parse(fs.readFileSync(plan))) {
  const out = { id: item.id, status: 0, exit: 0, error: "" };
  try {
    const [status, data] = await ask(item, item.body ? fs.readFileSync(item.body) : null);
    out.status = status;
    fs.writeFileSync(path.join(folder, item.id + ".in"), data);
  } catch (e) {
    out.exit = 1;
    out.error = String(e.cause ?? e);
  }
  console.log(JSON.stringify(out));
}
agent.destroy();
