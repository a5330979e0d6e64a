package foreign

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/weir-capture/weir/e2e/harness"
	"github.com/weir-capture/weir/e2e/ledger"
)

var all = flag.Bool("all", false, "every client with every server; what is missing is named")

// short are the clients and servers of the short form, by the beginnings of
// the lists.
var (
	shortClients = clients[:3]
	shortServers = []kindOfServer{servers[0], servers[1], servers[3]}
)

// bins is set once, before any test.
var bins *harness.Bins

func TestMain(m *testing.M) { harness.Main(m, "foreign", &bins) }

// row is one line of the table.
type row struct {
	client, server                     string
	requests, answered, served, stored int
	differences                        []string
}

// TestForeign runs every client against every server, one after the other, and
// prints the table.
func TestForeign(t *testing.T) {
	callers, callees := shortClients, shortServers
	if *all {
		callers, callees = clients, servers
	}
	var absent []string
	missing := func(name string, needs []string) bool {
		if gone, from := harness.Missing(needs...); len(gone) > 0 {
			if !*all {
				harness.Need(t, needs...)
			}
			absent = append(absent, fmt.Sprintf("%s (packages: %s)", name, strings.Join(from, " ")))
			return true
		}
		return false
	}
	var who []kindOfClient
	for _, c := range callers {
		if !missing("client "+c.name, c.needs) {
			who = append(who, c)
		}
	}

	s := harness.NewStack(t, bins, harness.Port(t))
	s.ProxyEnv["DIAGNOSTICS_ADDR"] = "off"
	s.StartAnalyzer()
	s.StartForwarder()

	running := map[string]server{}
	var runs []run
	want := 0
	for _, k := range callees {
		if missing("server "+k.name, k.needs) {
			continue
		}
		srv := k.start(t)
		running[k.name] = srv
		_, port := s.SecondProxy(srv.port, k.name, "pod-"+k.name)
		for _, c := range who {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			r, err := c.run(ctx, t, "http://"+harness.Addr(port), srv)
			cancel()
			if err != nil {
				r.wrong = append(r.wrong, err.Error())
			}
			r.client, r.server = c.name, k.name
			want += len(r.calls) + r.counted
			runs = append(runs, r)
		}
	}

	api := ledger.NewAnalyzer(s.Viewer())
	// What is not there by then is a difference of its row.
	if err := settle(t, api, want); err != nil {
		t.Log(err)
	}
	var rows []row
	for _, k := range callees {
		srv, ok := running[k.name]
		if !ok {
			continue
		}
		stored, err := api.ReadAll(t.Context(), "app:"+k.name)
		if err != nil {
			t.Fatalf("read the store: %v", err)
		}
		served, err := srv.served()
		if err != nil {
			t.Fatal(err)
		}
		var mine []run
		for _, r := range runs {
			if r.server == k.name {
				mine = append(mine, r)
			}
		}
		rows = append(rows, tabulate(k.name, mine, served, stored)...)
	}
	report(t, rows, absent, who, callees)
	l, err := api.Ledger(t.Context(), nil)
	if err != nil {
		t.Fatalf("read the ledger: %v", err)
	}
	if n := l.Total; !l.Holds || n.Seen != n.Stored {
		t.Errorf("seen %d, stored %d, unaccounted for %d: %s", n.Seen, n.Stored, n.Unaccounted, strings.Join(l.Reasons, "; "))
	}
}

// settle waits until everything that was seen is stored, and nothing more
// comes.
func settle(t *testing.T, api *ledger.Analyzer, want int) error {
	last, since := uint64(0), time.Now()
	return harness.Await(t.Context(), time.Minute, func() error {
		l, err := api.Ledger(t.Context(), nil)
		if err != nil {
			return err
		}
		n := l.Total
		if n.Seen != last || n.InFlight > 0 {
			last, since = n.Seen, time.Now()
		}
		if n.Stored < uint64(want) {
			return fmt.Errorf("%d of %d are stored", n.Stored, want)
		}
		// Longer than a proxy's reports are apart.
		if time.Since(since) < 3*time.Second {
			return errors.New("still changing")
		}
		return nil
	})
}

// tabulate sets the runs against one server beside its log and what was
// stored of its traffic. What belongs to none of them is a row of its own.
func tabulate(name string, runs []run, served []ledger.Served, stored []ledger.Stored) (rows []row) {
	for _, r := range runs {
		out := row{client: r.client, server: name, differences: r.wrong}
		calls, mine, kept := r.calls, []ledger.Served(nil), []ledger.Stored(nil)
		if r.token != "" {
			mine, served = takeServed(served, func(s ledger.Served) bool { return strings.Contains(s.Target, r.token) })
			kept, stored = takeStored(stored, func(s ledger.Stored) bool { return strings.Contains(s.Target, r.token) })
			if len(mine) != r.counted || r.counted != counted {
				out.differences = append(out.differences, fmt.Sprintf("%d were asked for, the client counts %d, the server's log has %d", counted, r.counted, len(mine)))
			}
			out.requests, out.answered = counted, r.counted
			calls = number(r, mine, kept)
		} else {
			ids := map[string]bool{}
			for _, c := range calls {
				ids[c.ID] = true
				if c.Err == "" {
					out.answered++
				}
			}
			out.requests = len(calls)
			mine, served = takeServed(served, func(s ledger.Served) bool { return ids[s.ID] })
			kept, stored = takeStored(stored, func(s ledger.Stored) bool { return ids[s.ID] })
		}
		out.served, out.stored = len(mine), len(kept)
		found := ledger.Compare(calls, mine, kept)
		for _, list := range [][]string{found.Lost, found.Twice, found.Phantom, found.Corrupt, found.Mispaired, found.Failed} {
			out.differences = append(out.differences, list...)
		}
		rows = append(rows, out)
	}
	if len(served)+len(stored) > 0 {
		out := row{client: "(nobody)", server: name, served: len(served), stored: len(stored)}
		for _, s := range served {
			out.differences = append(out.differences, fmt.Sprintf("the server saw %s %s, which no client sent", s.Method, s.Target))
		}
		for _, s := range stored {
			out.differences = append(out.differences, fmt.Sprintf("pair %s: %s %s, which no client sent", s.Pair, s.Method, s.Target))
		}
		rows = append(rows, out)
	}
	return rows
}

// number makes calls of what a server's log has of a client that only counts.
// All requests of ab are the same, so that it does not matter which pair is
// set beside which; each gets an id.
func number(r run, served []ledger.Served, stored []ledger.Stored) []ledger.Call {
	calls := make([]ledger.Call, len(served))
	body := files[strings.TrimPrefix(r.target, "/p/")]
	same := len(r.token) == len(ledger.NewID())
	id := func(i int) string { return fmt.Sprintf("%s-%d", r.token, i) }
	for i, s := range served {
		if same {
			served[i].ID = id(i)
		}
		calls[i] = ledger.Call{
			ID: served[i].ID, Client: r.client, Method: "GET", Target: s.Target, Status: 200,
			Out: ledger.DigestBytes(nil), In: ledger.DigestBytes(body),
		}
	}
	for i := range stored {
		if !same {
			break
		}
		s := &stored[i]
		s.ID = id(i)
		for _, carried := range []*string{&s.HeaderID, &s.EchoID} {
			if *carried == r.token {
				*carried = s.ID
			}
		}
	}
	return calls
}

func takeServed(all []ledger.Served, mine func(ledger.Served) bool) (taken, rest []ledger.Served) {
	for _, s := range all {
		if mine(s) {
			taken = append(taken, s)
		} else {
			rest = append(rest, s)
		}
	}
	return taken, rest
}

func takeStored(all []ledger.Stored, mine func(ledger.Stored) bool) (taken, rest []ledger.Stored) {
	for _, s := range all {
		if mine(s) {
			taken = append(taken, s)
		} else {
			rest = append(rest, s)
		}
	}
	return taken, rest
}

// report prints the table, and fails the test for each row with a difference.
func report(t *testing.T, rows []row, absent []string, who []kindOfClient, callees []kindOfServer) {
	t.Helper()
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "client\tserver\trequests\tanswered\tin its log\tstored\tdifferences\t")
	sum := row{client: "all", server: ""}
	differences := 0
	for _, r := range rows {
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%d\t%d\t\n", r.client, r.server, r.requests, r.answered, r.served, r.stored, len(r.differences))
		sum.requests, sum.answered, sum.served, sum.stored = sum.requests+r.requests, sum.answered+r.answered, sum.served+r.served, sum.stored+r.stored
		differences += len(r.differences)
	}
	fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%d\t%d\t\n", sum.client, sum.server, sum.requests, sum.answered, sum.served, sum.stored, differences)
	if err := w.Flush(); err != nil {
		t.Error(err)
	}
	for _, a := range absent {
		fmt.Println("absent:", a)
	}
	said := map[string]bool{}
	for _, c := range who {
		printVersion(said, c.version)
	}
	for _, k := range callees {
		printVersion(said, k.version)
	}
	for _, r := range rows {
		for i, d := range r.differences {
			if i == 5 {
				t.Errorf("%s → %s: … and %d more", r.client, r.server, len(r.differences)-i)
				break
			}
			t.Errorf("%s → %s: %s", r.client, r.server, d)
		}
	}
}

// printVersion prints the first line of what a program says of itself; some
// end with an error after it.
func printVersion(said map[string]bool, command []string) {
	path, err := exec.LookPath(command[0])
	if err != nil {
		path = "/usr/sbin/" + command[0]
	}
	if said[command[0]] {
		return
	}
	said[command[0]] = true
	out, _ := exec.Command(path, command[1:]...).CombinedOutput()
	first, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	if first != "" {
		fmt.Printf("%s: %s\n", command[0], strings.TrimSpace(first))
	}
}
