CREATE TABLE meta (
  name TEXT PRIMARY KEY,
  value TEXT NOT NULL
);

INSERT INTO meta (name, value) VALUES ('schema', '0');

-- People. name_key is the name folded, which is what must be unique. Who came
-- through an identity provider has an issuer and a subject and no password.
CREATE TABLE users (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  name_key TEXT NOT NULL UNIQUE,
  password TEXT NOT NULL,
  role TEXT NOT NULL,
  scope TEXT NOT NULL,
  disabled BIGINT NOT NULL,
  external_key TEXT UNIQUE,
  created_at BIGINT NOT NULL,
  signed_in_at BIGINT NOT NULL
);

-- hash is the SHA-256 of the token. The sessions of one sign-in are a family:
-- each rotation adds one, whose predecessor is the one it takes over from until
-- it is used; the predecessor's ends_at is then brought forward. first marks the
-- user's first sign-in.
CREATE TABLE sessions (
  hash TEXT PRIMARY KEY,
  family TEXT NOT NULL,
  user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  issued_at BIGINT NOT NULL,
  seen_at BIGINT NOT NULL,
  ends_at BIGINT NOT NULL,
  predecessor TEXT NOT NULL,
  rotated_at BIGINT NOT NULL,
  first BIGINT NOT NULL
);

CREATE INDEX sessions_of_user ON sessions (user_id);

CREATE INDEX sessions_of_family ON sessions (family);

CREATE TABLE setup_tokens (
  hash TEXT PRIMARY KEY,
  expires_at BIGINT NOT NULL
);

-- Failed sign-ins by name and by address; subject is a hash, as people type
-- passwords where names belong.
CREATE TABLE failures (
  subject TEXT PRIMARY KEY,
  kind TEXT NOT NULL,
  failed BIGINT NOT NULL,
  failed_at BIGINT NOT NULL,
  locked_until BIGINT NOT NULL
);

CREATE INDEX failures_by_age ON failures (kind, failed_at);

CREATE TABLE keys (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  kind TEXT NOT NULL,
  hash TEXT NOT NULL,
  role TEXT NOT NULL,
  scope TEXT NOT NULL,
  created_by TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL,
  revoked_at BIGINT NOT NULL,
  used_at BIGINT NOT NULL
);

-- Which key's name a spool was first written with.
CREATE TABLE spools (
  spool TEXT PRIMARY KEY,
  key_id TEXT NOT NULL REFERENCES keys (id),
  bound_at BIGINT NOT NULL
);

CREATE INDEX spools_of_key ON spools (key_id);

-- What the deployment shares; in clear, as it is handed out.
CREATE TABLE secrets (
  name TEXT NOT NULL,
  generation BIGINT NOT NULL,
  value TEXT NOT NULL,
  made_at BIGINT NOT NULL,
  PRIMARY KEY (name, generation)
);

CREATE TABLE views (
  owner TEXT NOT NULL,
  name TEXT NOT NULL,
  shared BIGINT NOT NULL,
  document TEXT NOT NULL,
  updated_at BIGINT NOT NULL,
  PRIMARY KEY (owner, name)
);

-- hash is over the one before and all other columns; see audit.go.
CREATE TABLE audit (
  seq BIGINT PRIMARY KEY,
  at BIGINT NOT NULL,
  actor_kind TEXT NOT NULL,
  actor_id TEXT NOT NULL,
  actor_name TEXT NOT NULL,
  actor_role TEXT NOT NULL,
  action TEXT NOT NULL,
  target TEXT NOT NULL,
  detail TEXT NOT NULL,
  origin TEXT NOT NULL,
  result TEXT NOT NULL,
  hash TEXT NOT NULL
);

-- One row: how far the log goes.
CREATE TABLE audit_head (
  id BIGINT PRIMARY KEY CHECK (id = 1),
  seq BIGINT NOT NULL,
  hash TEXT NOT NULL
);

INSERT INTO audit_head (id, seq, hash) VALUES (1, 0, '');
