/** The answers of the analyzer's HTTP API that the viewer reads. */

export interface PairSummary {
  id: string;
  time: string;
  stored_at: string;
  cluster: string;
  namespace: string;
  app: string;
  pod: string;
  direction: string;
  protocol: string;
  method: string;
  host: string;
  path: string;
  query: string;
  endpoint: string;
  status: number | null;
  duration_ns: number | null;
  ttfb_ns: number | null;
  request_size: number | null;
  response_size: number | null;
  client: string;
  server: string;
  conn: number;
  seq: number;
  flags: string[] | null;
  error: string;
}

export interface PairPage {
  pairs: PairSummary[] | null;
  next_cursor: string | null;
  partial: boolean;
}

export interface Message {
  start_line: string;
  headers: [string, string][] | null;
  trailers: [string, string][] | null;
  body: string;
  body_encoding: 'text' | 'base64';
  body_size: number;
  body_hash: string;
  truncated: boolean;
  wire_size: number;
  content_encoding: string;
}

export interface Timing {
  accepted: string | null;
  connected: string | null;
  request_first: string | null;
  request_last: string | null;
  response_first: string | null;
  response_last: string | null;
}

export interface Redaction {
  rule: string;
  location: string;
  type: string;
  count: number;
}

export interface Pair extends PairSummary {
  request: Message | null;
  response: Message | null;
  timing: Timing | null;
  redactions: Redaction[] | null;
  tags: Record<string, string> | null;
}

export interface HistogramBucket {
  time: string;
  counts: Record<string, number>;
}

export interface Histogram {
  from: string;
  to: string;
  step_ns: number;
  buckets: HistogramBucket[] | null;
  total: number;
  partial: boolean;
}

export interface Info {
  version: string;
  build_time: string;
  listen_addr: string;
  ingest_addr: string;
  auth: string;
  redaction: string;
  started: string;
  now: string;
  oldest: string | null;
  pairs: number;
}

export interface ForwarderState {
  forwarder_id: string;
  cluster: string;
  version: string;
  last_seen: string;
  started: string;
  connected: boolean;
  spool: {
    bytes_used: number;
    bytes_limit: number;
    oldest_offset: number;
    next_offset: number;
    exported_offset: number;
  } | null;
  dlp_config: string;
  filter_rule: string;
  filtered: Record<string, number> | null;
  dropped: Record<string, number> | null;
}

export interface ProxyState {
  proxy_id: string;
  epoch: string;
  cluster: string;
  namespace: string;
  app: string;
  pod: string;
  state: string;
  version: string;
  listen_addr: string;
  upstream_addr: string;
  registered: string;
  last_seen: string;
  epoch_started: string;
  clock_skew_ns: number;
  skewed: boolean;
  duplicate_id: boolean;
  counters: {
    seen: number;
    batched: number;
    sampled: number;
    acked: number;
    dropped: Record<string, number> | null;
    bodies_shed: number;
    bytes_client_to_server: number;
    bytes_server_to_client: number;
    conns_accepted: number;
    conns_failed: number;
  } | null;
  open_conns: number;
  memory_used: number;
  memory_limit: number;
  capture_on: boolean;
  protocols: Record<string, number> | null;
  upstream_error: string;
  forwarder_id: string;
}

export interface ProxiesAnswer {
  forwarders: ForwarderState[] | null;
  proxies: ProxyState[] | null;
}

export interface QueryMistake {
  /** Counted from 1. */
  column: number;
  length: number;
  message: string;
  suggestion: string;
}

export interface ProblemDocument {
  type?: string;
  title?: string;
  status?: number;
  detail?: string;
  errors?: QueryMistake[];
}
