package cli

import (
	"bufio"
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/weir-capture/weir/client"
	"github.com/weir-capture/weir/daemon"
)

// exitDenied: the analyzer does not let whoever asks do this. Nothing was
// done.
const exitDenied = 3

// maxPassword bounds what is read of one.
const maxPassword = 1024

// open makes the client of the analyzer that is meant. Who may open the
// control socket needs neither token nor certificate.
func open(named string, programs Programs) (*client.Client, error) {
	at := address(named, programs)
	var options []client.Option
	if !strings.HasPrefix(at, "unix:") {
		env := daemon.NewEnv(os.LookupEnv)
		token := env.Secret("WEIR_TOKEN")
		roots := rootsOf(env)
		if err := env.Err(); err != nil {
			return nil, &UsageError{err}
		}
		if token != "" {
			options = append(options, client.WithToken(token))
		}
		if roots != nil {
			options = append(options, client.WithRoots(roots))
		}
	}
	api, err := client.New(at, options...)
	if err != nil {
		return nil, &UsageError{err}
	}
	return api, nil
}

// rootsOf are the authorities of WEIR_CA_FILE; nil for the system's.
func rootsOf(env *daemon.Env) *x509.CertPool {
	name := env.String("WEIR_CA_FILE", "")
	if name == "" {
		return nil
	}
	b, err := os.ReadFile(name)
	if err != nil {
		env.Fail("WEIR_CA_FILE", err.Error(), "a file of certificates (PEM)")
		return nil
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(b) {
		env.Fail("WEIR_CA_FILE", "there is no certificate in it", "a file of certificates (PEM)")
		return nil
	}
	return roots
}

// denied says what to do when an analyzer lets nobody, or not this one, do
// what was asked for; nil for every other error.
func denied(err error) error {
	p, ok := errors.AsType[*client.Problem](err)
	if !ok {
		return nil
	}
	switch p.Status {
	case http.StatusUnauthorized:
		hint := "WEIR_TOKEN, or a file named by WEIR_TOKEN_FILE, has to hold an API key; weir key create NAME makes one on the analyzer's machine."
		if os.Getenv("WEIR_TOKEN") != "" || os.Getenv("WEIR_TOKEN_FILE") != "" {
			hint = "The key of WEIR_TOKEN is wrong, has ended or was revoked; weir key list, on the analyzer's machine, shows which are good."
		}
		return &daemon.Hinted{Err: err, Hint: hint}
	case http.StatusForbidden:
		hint := "The key of WEIR_TOKEN may not do this."
		if p.Role != "" {
			hint = fmt.Sprintf("This needs a key of the role %s; weir key create NAME --role %s makes one on the analyzer's machine.", p.Role, p.Role)
		}
		return &daemon.Hinted{Err: err, Hint: hint}
	}
	return nil
}

// password asks for one, twice, or reads it from standard input.
func password(ctx context.Context, std IO, in secretInput, name string) (string, error) {
	if in.PasswordStdin {
		// A line: whatever is behind it is not looked at.
		line, err := bufio.NewReader(io.LimitReader(std.In, maxPassword+2)).ReadBytes('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", fmt.Errorf("read password: %w", err)
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 || len(line) > maxPassword {
			return "", &UsageError{fmt.Errorf("standard input has no password, or one of more than %d bytes", maxPassword)}
		}
		return string(line), nil
	}
	if std.Password == nil {
		return "", &UsageError{fmt.Errorf("there is no terminal to ask for the password; --password-stdin reads it from standard input")}
	}
	first, err := std.Password(ctx, "Password of "+clean(name, false)+": ")
	if err != nil {
		return "", fmt.Errorf("read password: %w", err)
	}
	second, err := std.Password(ctx, "Once more: ")
	if err != nil {
		return "", fmt.Errorf("read password: %w", err)
	}
	if first != second {
		return "", &UsageError{fmt.Errorf("the passwords differ; nothing was changed")}
	}
	return first, nil
}
