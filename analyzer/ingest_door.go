package analyzer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/weir-capture/weir/analyzer/control"
	"github.com/weir-capture/weir/analyzer/ingest"
	"github.com/weir-capture/weir/analyzer/store"
	"github.com/weir-capture/weir/daemon"
	"github.com/weir-capture/weir/internal/tlsfiles"
)

// defaultIngestRate is far above what any one forwarder was seen to send.
const defaultIngestRate = 512 << 20

// bindTime bounds how long it may take to look up whose a spool is.
const bindTime = 5 * time.Second

// IngestDoor says who may send pairs.
type IngestDoor struct {
	// IngestClientCA is a PEM file with the authorities of forwarders'
	// certificates; empty: none lets anybody in.
	IngestClientCA string
	// IngestRate bounds what one forwarder sends, in bytes a second; 0: no
	// bound.
	IngestRate int64
}

// loadIngestDoor reads the variables of IngestDoor, and holds INGEST_ADDR to
// them: beyond the loopback it speaks TLS.
func loadIngestDoor(env *daemon.Env, listen string, tls tlsfiles.Files) IngestDoor {
	d := IngestDoor{
		IngestClientCA: env.String("INGEST_CLIENT_CA_FILE", ""),
		IngestRate:     env.Size("INGEST_RATE", defaultIngestRate),
	}
	env.TLSFiles(tlsfiles.Files{CA: d.IngestClientCA}, "", "", "INGEST_CLIENT_CA_FILE")
	if d.IngestClientCA != "" && tls.Cert == "" {
		env.Fail("INGEST_CLIENT_CA_FILE", "certificates are shown over TLS, which is off", "TLS_CERT_FILE and TLS_KEY_FILE with it")
	}
	if listen != "" && !onLoopback(listen) && tls.Cert == "" {
		env.Fail("INGEST_ADDR", "other machines reach it, and what was captured would come in the clear",
			"TLS_CERT_FILE and TLS_KEY_FILE set, or an address such as "+defaultIngest)
	}
	return d
}

// openIngestDoor reads the files of the ingest port's TLS.
func (a *Analyzer) openIngestDoor() (ingest.Door, error) {
	d := ingest.Door{Authenticate: a.forwarderOf, BindSpool: a.bindSpool, Rate: a.cfg.IngestRate}
	if a.cfg.TLSCert == "" {
		return d, nil
	}
	files := a.cfg.tlsFiles()
	files.CA = a.cfg.IngestClientCA
	var err error
	if a.ingestTLS, err = tlsfiles.NewServer(files, tlsfiles.Options{}, a.log); err != nil {
		return d, fmt.Errorf("read TLS_CERT_FILE, TLS_KEY_FILE and INGEST_CLIENT_CA_FILE: %w", err)
	}
	d.TLS = a.ingestTLS.Config("h2")
	if files.CA != "" {
		d.Verify = a.ingestTLS.Verify
	}
	return d, nil
}

// forwarderOf is the forwarder of a token. Keys of people, and of proxies, are
// nobody's here.
func (a *Analyzer) forwarderOf(ctx context.Context, token string) (ingest.Identity, error) {
	id, err := a.control.KeyIdentity(ctx, token)
	switch {
	case errors.Is(err, control.ErrDenied):
		return ingest.Identity{}, ingest.ErrDenied
	case err != nil:
		return ingest.Identity{}, fmt.Errorf("look up token: %w", err)
	case id.Kind != string(control.KeyForwarder):
		return ingest.Identity{}, ingest.ErrDenied
	}
	return ingest.Identity{ID: id.ID, Name: id.Name}, nil
}

// bindSpool holds a forwarder to spools of its own.
func (a *Analyzer) bindSpool(ctx context.Context, spool store.ID, id string) error {
	owner := control.SpoolOwner{KeyID: id}
	if name, ok := ingest.Certificate(id); ok {
		owner = control.SpoolOwner{Certificate: name}
	}
	ctx, cancel := context.WithTimeout(ctx, bindTime)
	defer cancel()
	err := a.control.BindSpool(ctx, owner, spool)
	if errors.Is(err, control.ErrDenied) {
		return ingest.ErrDenied
	}
	return err
}
