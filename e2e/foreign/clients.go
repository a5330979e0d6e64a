package foreign

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/weir-capture/weir/e2e/ledger"
	"github.com/weir-capture/weir/e2e/load"
)

// run is what one client did to one server.
type run struct {
	client, server string
	// calls are what it says of each of its requests. A client that only
	// counts leaves them empty: its truth is the server's log.
	calls []ledger.Call
	// token is in the target of each request of a client that only counts;
	// counted is how many it says were answered, and target what it asked for.
	token, target string
	counted       int
	// wrong is what the client says went wrong, or what it got that it should
	// not have got.
	wrong []string
}

// kindOfClient is one that can be run.
type kindOfClient struct {
	name    string
	needs   []string
	version []string
	run     func(ctx context.Context, t testing.TB, base string, s server) (run, error)
}

var clients = []kindOfClient{
	{"go", nil, []string{"go", "version"}, planned(func(ctx context.Context, _, base string, plan []load.Request) ([]ledger.Call, error) {
		return load.Go(ctx, base, plan, 3), nil
	})},
	{"python http.client", []string{"python3"}, []string{"python3", "--version"}, planned(func(ctx context.Context, dir, base string, plan []load.Request) ([]ledger.Call, error) {
		return load.Python(ctx, dir, base, "http.client", plan)
	})},
	{"node http", []string{"node"}, []string{"node", "--version"}, planned(func(ctx context.Context, dir, base string, plan []load.Request) ([]ledger.Call, error) {
		return load.Node(ctx, dir, base, "http", plan)
	})},
	{"python urllib", []string{"python3"}, []string{"python3", "--version"}, planned(func(ctx context.Context, dir, base string, plan []load.Request) ([]ledger.Call, error) {
		plan = slices.DeleteFunc(slices.Clone(plan), func(r load.Request) bool { return r.Chunked }) // it cannot
		return load.Python(ctx, dir, base, "urllib", plan)
	})},
	{"node fetch", []string{"node"}, []string{"node", "--version"}, planned(func(ctx context.Context, dir, base string, plan []load.Request) ([]ledger.Call, error) {
		return load.Node(ctx, dir, base, "fetch", plan)
	})},
	{"curl", []string{"curl"}, []string{"curl", "--version"}, planned(func(ctx context.Context, dir, base string, plan []load.Request) ([]ledger.Call, error) {
		return load.Curl(ctx, dir, base, plan)
	})},
	{"wrk", []string{"wrk"}, []string{"wrk", "-v"}, runWrk},
	{"ab", []string{"ab"}, []string{"ab", "-V"}, runAb},
}

// rounds of the plan, and how many requests the clients make that only count.
const (
	rounds  = 5
	counted = 200
)

// planned runs a client that does what it is told, request by request, and
// says what came of each.
func planned(do func(ctx context.Context, dir, base string, plan []load.Request) ([]ledger.Call, error)) func(context.Context, testing.TB, string, server) (run, error) {
	return func(ctx context.Context, t testing.TB, base string, s server) (r run, err error) {
		var p load.Plan
		want := map[string][]byte{} // by id; what is not there is not known
		add := func(method, target string, body []byte, chunked bool, answer []byte) {
			q := p.Add(method, target, body)
			q.Chunked = chunked
			if answer != nil {
				want[q.ID] = answer
			}
		}
		for i := range rounds {
			for _, name := range []string{"small.txt", "large.bin", "empty.txt"} {
				add("GET", "/p/"+name+"?{id}", nil, false, files[name])
			}
			add("GET", "/p/none?{id}", nil, false, nil)
			add("HEAD", "/p/small.txt?{id}", nil, false, []byte{})
			if s.post == "" {
				continue
			}
			for j, chunked := range []bool{false, true} {
				body := ledger.Noise([16]byte{byte(i), byte(j), 7}, 1, 10_000+i*7001)
				var answer []byte
				if s.hashes {
					answer = fmt.Appendf(nil, "%x\n", sha256.Sum256(body))
				}
				add("POST", s.post+"?{id}", body, chunked, answer)
			}
		}
		if r.calls, err = do(ctx, t.TempDir(), base, p.Requests); err != nil {
			return r, err
		}
		for _, c := range r.calls {
			if w, ok := want[c.ID]; ok && c.Err == "" && (c.Status != 200 || c.In.SHA != sha256.Sum256(w)) {
				r.wrong = append(r.wrong, fmt.Sprintf("%s %s: status %d and %d bytes, which are not the right ones", c.Method, c.Target, c.Status, c.In.Size))
			}
		}
		return r, nil
	}
}

//go:embed wrk.lua
var wrkScript string

// runWrk makes requests from two threads over a connection each. wrk knows
// only a duration; the script ends a thread after its share.
func runWrk(ctx context.Context, t testing.TB, base string, _ server) (run, error) {
	r := run{target: "/p/small.txt", token: ledger.NewID()[:22]}
	file := filepath.Join(t.TempDir(), "wrk.lua")
	if err := os.WriteFile(file, []byte(wrkScript), 0o644); err != nil {
		return r, err
	}
	out, err := exec.CommandContext(ctx, "wrk", "-t2", "-c2", "-d4s", "--timeout", "30s", "-s", file, base, "--", strconv.Itoa(counted/2), r.target, r.token).CombinedOutput()
	if err != nil {
		return r, fmt.Errorf("run wrk: %w: %s", err, out)
	}
	var said struct{ Requests, Errors int }
	if err := json.Unmarshal(out[strings.LastIndex(string(out), "\n{")+1:], &said); err != nil {
		return r, fmt.Errorf("read what wrk printed: %w: %s", err, out)
	}
	r.counted = said.Requests
	if said.Errors > 0 {
		r.wrong = append(r.wrong, fmt.Sprintf("wrk says %d errors", said.Errors))
	}
	return r, nil
}

var abSays = regexp.MustCompile(`(?m)^(Complete|Failed) requests:\s+(\d+)|^(Non-2xx) responses:\s+(\d+)`)

// runAb makes requests over three connections, which it keeps where the
// server does.
func runAb(ctx context.Context, _ testing.TB, base string, _ server) (run, error) {
	r := run{target: "/p/small.txt", token: ledger.NewID()}
	out, err := exec.CommandContext(ctx, "ab", "-q", "-k", "-n", strconv.Itoa(counted), "-c", "3", "-s", "30", "-H", ledger.Header+": "+r.token, base+r.target+"?"+r.token).CombinedOutput()
	if err != nil {
		return r, fmt.Errorf("run ab: %w: %s", err, out)
	}
	for _, m := range abSays.FindAllStringSubmatch(string(out), -1) {
		n, err := strconv.Atoi(m[2] + m[4])
		if err != nil {
			return r, fmt.Errorf("read what ab printed: %w: %s", err, out)
		}
		if m[1] == "Complete" {
			r.counted = n
		} else if n > 0 {
			r.wrong = append(r.wrong, "ab says "+strings.Join(strings.Fields(m[0]), " "))
		}
	}
	return r, nil
}
