package load

import (
	"bufio"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weir-capture/weir/e2e/ledger"
)

func newReader(r io.Reader) *bufio.Reader { return bufio.NewReaderSize(r, 64<<10) }

// limit bounds one run of a foreign client.
const limit = 2 * time.Minute

// Curl makes the requests with one curl process, which keeps its connection.
// dir is an empty folder of the test's.
func Curl(ctx context.Context, dir, base string, plan []Request, args ...string) ([]ledger.Call, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var cfg strings.Builder
	for i, r := range plan {
		if i > 0 {
			cfg.WriteString("next\n")
		}
		line := func(k, v string) { fmt.Fprintf(&cfg, "%s = %s\n", k, strconv.Quote(v)) }
		cfg.WriteString("silent\ngloboff\npath-as-is\n")
		line("url", base+r.Target)
		line("max-time", "30")
		line("output", filepath.Join(dir, r.ID+".in"))
		line("header", ledger.Header+": "+r.ID)
		line("write-out", `{"id":"`+r.ID+`","status":%{http_code},"exit":%{exitcode},"error":"%{errormsg}"}\n`)
		for _, k := range slices.Sorted(maps.Keys(r.Header)) {
			line("header", k+": "+r.Header[k])
		}
		if r.Method == "HEAD" {
			cfg.WriteString("head\n")
		} else {
			line("request", r.Method)
		}
		if r.Body != nil {
			file := filepath.Join(dir, r.ID+".out")
			if err := os.WriteFile(file, r.Body, 0o644); err != nil {
				return nil, fmt.Errorf("write body: %w", err)
			}
			if r.Chunked {
				line("upload-file", file)
				line("header", "Transfer-Encoding: chunked")
			} else {
				line("data-binary", "@"+file)
			}
		}
	}
	file := filepath.Join(dir, "curl.config")
	if err := os.WriteFile(file, []byte(cfg.String()), 0o644); err != nil {
		return nil, fmt.Errorf("write curl's config: %w", err)
	}
	// --disable: nobody's .curlrc.
	out, err := command(ctx, dir, "curl", append([]string{"--disable"}, append(args, "--config", file)...)...)
	if err != nil {
		return nil, err
	}
	return results("curl", dir, plan, out)
}

//go:embed client.py
var python string

// Python makes the requests with one of Python's two clients: "http.client"
// keeps its connection, "urllib" opens one for every request.
func Python(ctx context.Context, dir, base, kind string, plan []Request) ([]ledger.Call, error) {
	return scripted(ctx, dir, "python3", "client.py", python, base, kind, plan)
}

//go:embed client.mjs
var node string

// Node makes the requests with one of Node's two clients, "http" or "fetch",
// which keep their connections.
func Node(ctx context.Context, dir, base, kind string, plan []Request) ([]ledger.Call, error) {
	return scripted(ctx, dir, "node", "client.mjs", node, base, kind, plan)
}

// scripted makes the requests with a script of an interpreter's, which reads
// the plan from a file.
func scripted(ctx context.Context, dir, interpreter, name, script, base, kind string, plan []Request) ([]ledger.Call, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	type item struct {
		ID      string            `json:"id"`
		Method  string            `json:"method"`
		Target  string            `json:"target"`
		Header  map[string]string `json:"header"`
		Body    string            `json:"body"`
		Chunked bool              `json:"chunked"`
	}
	items := make([]item, len(plan))
	for i, r := range plan {
		items[i] = item{r.ID, r.Method, r.Target, maps.Clone(r.Header), "", r.Chunked}
		items[i].Header[ledger.Header] = r.ID
		if r.Body != nil {
			items[i].Body = filepath.Join(dir, r.ID+".out")
			if err := os.WriteFile(items[i].Body, r.Body, 0o644); err != nil {
				return nil, fmt.Errorf("write body: %w", err)
			}
		}
	}
	list, err := json.Marshal(items)
	if err != nil {
		return nil, fmt.Errorf("encode plan: %w", err)
	}
	listFile, scriptFile := filepath.Join(dir, "plan.json"), filepath.Join(dir, name)
	for file, data := range map[string][]byte{listFile: list, scriptFile: []byte(script)} {
		if err := os.WriteFile(file, data, 0o644); err != nil {
			return nil, fmt.Errorf("write for %s: %w", interpreter, err)
		}
	}
	out, err := command(ctx, dir, interpreter, scriptFile, kind, base, listFile, dir)
	if err != nil {
		return nil, err
	}
	return results(interpreter+" "+kind, dir, plan, out)
}

func command(ctx context.Context, dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	// Without the caller's proxy settings, which would take the place of ours.
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil && (len(out) == 0 || ctx.Err() != nil) {
		return "", fmt.Errorf("run %s: %w: %s", name, err, stderr.String())
	}
	// A client that failed on one of its requests says so on that request.
	return string(out), nil
}

// results reads what a foreign client printed, one JSON object a request, and
// the bodies that it left in dir.
func results(client, dir string, plan []Request, out string) ([]ledger.Call, error) {
	type result struct {
		ID     string `json:"id"`
		Status int    `json:"status"`
		Exit   int    `json:"exit"`
		Error  string `json:"error"`
	}
	byID := map[string]result{}
	dec := json.NewDecoder(strings.NewReader(out))
	for {
		var r result
		if err := dec.Decode(&r); err == io.EOF {
			break
		} else if err != nil {
			return nil, fmt.Errorf("read what %s printed: %w: %s", client, err, out)
		}
		byID[r.ID] = r
	}
	calls := make([]ledger.Call, len(plan))
	for i, p := range plan {
		c := p.call(client)
		r, ok := byID[p.ID]
		switch {
		case !ok:
			c.Err = "not reached"
		case r.Exit != 0 || r.Error != "":
			c.Err = fmt.Sprintf("exit %d %s", r.Exit, r.Error)
		}
		c.Status = r.Status
		// A response without a body leaves no file; curl writes the header
		// block of a HEAD there.
		if f, err := os.Open(filepath.Join(dir, p.ID+".in")); err == nil && p.Method != "HEAD" {
			c.In, err = ledger.Digest(f)
			f.Close()
			if err != nil {
				return nil, fmt.Errorf("read body of %s: %w", p.ID, err)
			}
		}
		calls[i] = c
	}
	return calls, nil
}
