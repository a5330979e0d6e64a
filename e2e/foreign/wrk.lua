-- Makes a bounded number of requests, each with an id of its own.
-- usage: wrk -s wrk.lua … -- LIMIT-PER-THREAD TARGET TOKEN
-- TOKEN is the beginning of the ids, 22 hexadecimal digits.
local threads = 0

function setup(thread)
  threads = threads + 1
  thread:set("worker", threads)
end

function init(args)
  limit, target, token = tonumber(args[1]), args[2], args[3]
  sent, answered = 0, 0
end

function request()
  sent = sent + 1
  local id = token .. string.format("%04x%06x", worker or 0, sent)
  return wrk.format("GET", target .. "?" .. id, { ["X-Weir-Id"] = id })
end

function response()
  answered = answered + 1
  if answered >= limit then
    wrk.thread:stop()
  end
end

function done(summary)
  local e = summary.errors
  io.write(string.format('\n{"requests":%d,"errors":%d}\n', summary.requests, e.connect + e.read + e.write + e.status + e.timeout))
end
