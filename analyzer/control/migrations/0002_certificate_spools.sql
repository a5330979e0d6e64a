-- Spools of forwarders that show a certificate and no key: whose it is, is the
-- name that the certificate is for. A spool is in one of the two tables at most.
CREATE TABLE certificate_spools (
  spool TEXT PRIMARY KEY,
  certificate TEXT NOT NULL,
  bound_at BIGINT NOT NULL
);

CREATE INDEX certificate_spools_of ON certificate_spools (certificate);
