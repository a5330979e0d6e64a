package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	httpv1 "github.com/weir-capture/weir/api/http/v1"
	"github.com/weir-capture/weir/internal/credentials"
)

// Program is one of those that are set up by an environment.
type Program string

// The programs.
const (
	Goproxy         Program = "goproxy"
	Forwarder       Program = "forwarder"
	AnalyzerProgram Program = "analyzer"
)

// telling are the variables that only one program has: by them an environment
// says whose it is.
var telling = []struct {
	program Program
	names   []string
}{
	{Goproxy, []string{"PROXY_TYPE", "PROXY_IN_PORT", "REVERSE_PROXY_HOST", "REVERSE_PROXY_PORT", "APP_LABEL", "FORWARDER_ADDR"}},
	{Forwarder, []string{"SERVICE_PORT", "CLUSTER_NAME", "ANALYZER_ADDR", "SPOOL_DIR", "FILTER_RULE", "DLP_CONFIG", "EXPORTERS"}},
	{AnalyzerProgram, []string{"LISTEN_ADDR", "INGEST_ADDR", "DATA_DIR", "RETENTION", "RETENTION_BYTES"}},
}

// Environment is where programs are set up: that of a process, or an
// env-file.
type Environment struct {
	// Name is shown: the file, or empty.
	Name   string
	Lookup func(string) (string, bool)
}

func (e Environment) get(name, def string) string {
	if v, ok := e.Lookup(name); ok && v != "" {
		return v
	}
	return def
}

// Programs says whose variables an environment has.
func (e Environment) Programs() []Program {
	var out []Program
	for _, t := range telling {
		for _, name := range t.names {
			if v, ok := e.Lookup(name); ok && v != "" {
				out = append(out, t.program)
				break
			}
		}
	}
	return out
}

// Machine is the machine that the doctor runs on, as programs are set up
// there.
type Machine struct {
	Environments []Environment
	// Config reads an environment as a program does; its error has a line for
	// each wrong variable.
	Config func(Program, func(string) (string, bool)) error
	// SpoolDir and DataDir are where those are when nobody says.
	SpoolDir, DataDir string
	// Timeout bounds one attempt to reach something: 3 s.
	Timeout time.Duration
}

// Examine looks at the machine. It opens ports and files for a moment, and
// leaves nothing.
func (m Machine) Examine(ctx context.Context) []httpv1.DoctorCheck {
	if m.Timeout == 0 {
		m.Timeout = 3 * time.Second
	}
	var out []httpv1.DoctorCheck
	for _, e := range m.Environments {
		for _, p := range e.Programs() {
			out = append(out, m.program(ctx, e, p)...)
		}
	}
	for i := range out {
		c := &out[i]
		c.Where, c.Found = credentials.Hide(c.Where), credentials.Hide(c.Found)
	}
	return out
}

func (m Machine) program(ctx context.Context, e Environment, p Program) []httpv1.DoctorCheck {
	where := string(p)
	if e.Name != "" {
		where += ", " + e.Name
	}
	out := m.config(where, e, p)
	switch p {
	case Goproxy:
		if port := e.get("PROXY_IN_PORT", ""); port != "" {
			out = append(out, Port("PROXY_IN_PORT", ":"+port, "goproxy"))
		}
		host := strings.TrimSuffix(strings.TrimPrefix(e.get("REVERSE_PROXY_HOST", "localhost"), "["), "]")
		upstream := net.JoinHostPort(host, e.get("REVERSE_PROXY_PORT", "80"))
		out = append(out, m.upstream(ctx, upstream))
		if addr := e.get("FORWARDER_ADDR", ""); addr != "" {
			out = append(out, m.service(ctx, "forwarder.reachable", "FORWARDER_ADDR", addr, "/weir.capture.v1.ProxyService/Register", "forwarder"))
		}
	case Forwarder:
		out = append(out, Port("SERVICE_PORT", ":"+e.get("SERVICE_PORT", "8888"), "forwarder"))
		if addr := e.get("ANALYZER_ADDR", ""); addr != "" {
			out = append(out, m.service(ctx, "analyzer.reachable", "ANALYZER_ADDR", addr, "/weir.capture.v1.IngestService/Export", "analyzer"))
		}
		out = append(out, Directory("SPOOL_DIR", e.get("SPOOL_DIR", m.SpoolDir)))
	case AnalyzerProgram:
		out = append(
			out,
			Port("LISTEN_ADDR", e.get("LISTEN_ADDR", "127.0.0.1:4190"), "analyzer"),
			Port("INGEST_ADDR", e.get("INGEST_ADDR", "127.0.0.1:4191"), "analyzer"),
			Directory("DATA_DIR", e.get("DATA_DIR", m.DataDir)),
		)
	}
	return out
}

// config has a failure for each wrong variable.
func (m Machine) config(where string, e Environment, p Program) []httpv1.DoctorCheck {
	if m.Config == nil {
		return nil
	}
	err := m.Config(p, e.Lookup)
	if err == nil {
		return []httpv1.DoctorCheck{good("config", where, "Every variable is valid, the rules among them.")}
	}
	var out []httpv1.DoctorCheck
	for line := range strings.Lines(err.Error()) {
		if line = strings.TrimSpace(line); line != "" {
			out = append(out, check("config", where, Failure, sentence(line), Cause{"The program would not start with it.", "Set the variable as the line says."}))
		}
	}
	return out
}

// Port says whether a program could listen on addr, which variable sets. It is
// fine when that program does already.
func Port(variable, addr, program string) httpv1.DoctorCheck {
	where := variable + " " + addr
	ln, err := net.Listen("tcp", addr)
	if err == nil {
		if err := ln.Close(); err != nil {
			return check("port", where, Warning, "It could not be given back: "+err.Error()+".", Cause{"This machine is short of something.", "Try again."})
		}
		return good("port", where, "It is free; the program does not run yet.")
	}
	if errors.Is(err, syscall.EADDRINUSE) {
		_, port, _ := net.SplitHostPort(addr)
		holder, known := holderOf(port)
		if known && (holder.name == program || holder.name == "weir") {
			return good("port", where, fmt.Sprintf("%s listens there (process %d).", holder.name, holder.pid))
		}
		found, fix := "It is taken.", "Stop what listens there, or choose another port with "+variable+". Whose it is: ss -ltnp."
		if known {
			found = fmt.Sprintf("It is taken by %s (process %d).", holder.name, holder.pid)
			fix = "Stop " + holder.name + ", or choose another port with " + variable + "."
		}
		return check("port", where, Failure, found, Cause{"Another program listens there.", fix})
	}
	if errors.Is(err, fs.ErrPermission) {
		return check("port", where, Failure, "This user may not listen there.", Cause{
			"Ports below 1024 are the administrator's.", "Choose a port from 1024 on with " + variable + ".",
		})
	}
	return check("port", where, Failure, sentence(err.Error()), Cause{"The address is not this machine's, or not valid.", "Correct " + variable + "."})
}

func (m Machine) upstream(ctx context.Context, addr string) httpv1.DoctorCheck {
	if err := m.dial(ctx, addr); err != nil {
		return check("proxy.upstream", addr, Failure, sentence(err.Error()),
			Unreachable(addr, "REVERSE_PROXY_HOST and REVERSE_PROXY_PORT", err.Error(), InContainer()))
	}
	return good("proxy.upstream", addr, "It takes connections.")
}

func (m Machine) dial(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, m.Timeout)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	return conn.Close()
}

// service says whether a Weir program answers at addr. It calls a method with
// an empty message, which that program refuses in words of its own, and does
// nothing for.
func (m Machine) service(ctx context.Context, id, variable, addr, method, program string) httpv1.DoctorCheck {
	addr = addr[strings.LastIndexByte(addr, '@')+1:] // what stands before it is nobody's business
	if err := m.dial(ctx, addr); err != nil {
		return check(id, addr, Failure, sentence(err.Error()), Unreachable(addr, variable, err.Error(), InContainer()))
	}
	other := Cause{
		"Something listens there that is not Weir's " + program + ".",
		"Set " + variable + " to the address of the " + program + "; what listens there now: ss -ltnp on that machine.",
	}
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return check(id, addr, Failure, sentence(err.Error()), other)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, m.Timeout)
	defer cancel()
	err = conn.Invoke(ctx, method, &emptypb.Empty{}, &emptypb.Empty{})
	switch status.Code(err) {
	case codes.InvalidArgument, codes.FailedPrecondition, codes.ResourceExhausted, codes.Aborted, codes.OK:
		return good(id, addr, capital(article(program))+" answers.")
	case codes.Unimplemented:
		return check(id, addr, Failure, "What answers speaks gRPC and is no "+program+".", other)
	case codes.DeadlineExceeded:
		return check(id, addr, Failure, "It takes connections and does not answer.", Cause{
			other.Text[:len(other.Text)-1] + ", or it hangs.", other.Fix,
		})
	}
	return check(id, addr, Failure, "What answers does not speak gRPC.", other)
}

func article(program string) string {
	if strings.HasPrefix(program, "a") {
		return "an " + program
	}
	return "a " + program
}

// Directory says whether a program could keep files in dir, which variable
// sets, and whether there is room.
func Directory(variable, dir string) httpv1.DoctorCheck {
	where := variable + " " + dir
	at, err := existing(dir)
	if err == nil {
		err = writable(at)
	}
	if err != nil {
		c := Cause{"This user may not write there.", "Set " + variable + " to a directory that the user can write who runs the program, or change its owner."}
		if !errors.Is(err, fs.ErrPermission) {
			c = Cause{"Something is there that is no directory, or the file system takes no files.", "Set " + variable + " to a directory on a disk that can be written."}
		}
		return check("directory", where, Failure, sentence(err.Error()), c)
	}
	var room syscall.Statfs_t
	if err := syscall.Statfs(at, &room); err != nil {
		return check("directory", where, Warning, sentence(err.Error()), Cause{"How much room there is could not be found out.", "Look with df."})
	}
	size := uint64(room.Bsize)
	return disk("directory", where, room.Bavail*size, room.Blocks*size, "Make room, or choose another disk.")
}

// existing is the nearest directory above dir, or dir itself, that is there:
// programs make what is missing.
func existing(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	for {
		st, err := os.Stat(dir)
		switch {
		case err == nil && st.IsDir():
			return dir, nil
		case err == nil:
			return "", fmt.Errorf("%s is not a directory", dir)
		case !errors.Is(err, fs.ErrNotExist):
			return "", err
		}
		dir = filepath.Dir(dir)
	}
}

func writable(dir string) error {
	f, err := os.CreateTemp(dir, ".weir-doctor-*")
	if err != nil {
		return err
	}
	_, err = f.WriteString("weir")
	return errors.Join(err, f.Close(), os.Remove(f.Name()))
}

// Clock compares this machine's clock with the analyzer's: what it said
// between asked and answered.
func Clock(url string, said, asked, answered time.Time) httpv1.DoctorCheck {
	off := asked.Add(answered.Sub(asked) / 2).Sub(said)
	slack := answered.Sub(asked)/2 + 2*time.Second
	if off.Abs() > slack {
		return check("clock", url, Warning, "This machine's clock is "+skew(off)+".", Cause{
			"A clock is not kept right.", "Run a time service (chrony, systemd-timesyncd) on both machines.",
		})
	}
	return good("clock", url, "Within 2 s.")
}

// AnalyzerAnswers says whether the analyzer's API could be asked.
func AnalyzerAnswers(base string, err error) httpv1.DoctorCheck {
	if err == nil {
		return good("analyzer.reachable", base, "It answers.")
	}
	addr := base
	if u, err := url.Parse(base); err == nil && u.Host != "" {
		addr = u.Host
		if u.Port() == "" {
			addr = net.JoinHostPort(u.Hostname(), map[string]string{"http": "80", "https": "443"}[u.Scheme])
		}
	}
	return check("analyzer.reachable", base, Failure, sentence(err.Error()), Unreachable(addr, "WEIR_URL", err.Error(), InContainer()))
}

// InContainer says whether this process runs in a container, by the marks that
// container runtimes leave.
func InContainer() bool {
	for _, path := range []string{"/.dockerenv", "/run/.containerenv"} {
		if _, err := os.Stat(path); err == nil {
			return true
		}
	}
	return os.Getenv("KUBERNETES_SERVICE_HOST") != ""
}

// ReadEnvFile reads an env-file: NAME=value lines as docker run --env-file
// takes them. Empty lines and those that begin with # mean nothing; quotes are
// part of a value. A line without = is an error.
func ReadEnvFile(content string) (map[string]string, error) {
	out := map[string]string{}
	n := 0
	for line := range strings.Lines(content) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		if name = strings.TrimSpace(strings.TrimPrefix(name, "export ")); !ok || name == "" {
			return nil, fmt.Errorf("line %s: want NAME=value", strconv.Itoa(n))
		}
		out[name] = value
	}
	return out, nil
}
