package analyzer

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weir-capture/weir/analyzer/store/segstore"
	"github.com/weir-capture/weir/analyzer/store/storetest"
	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/client"
	"github.com/weir-capture/weir/internal/keyring"
)

// days fills an encrypted data directory with pairs that came on days ago.
func days(t *testing.T, dir string, m *keyring.Master, ago ...int) {
	t.Helper()
	f := storetest.NewForwarder(1, storetest.NewProxy(1))
	n := uint64(0)
	for _, d := range ago {
		opt := storeOptions(dir, nil, slog.New(slog.DiscardHandler))
		opt.Master, opt.Now = m, func() time.Time { return time.Now().AddDate(0, 0, -d) }
		s, err := segstore.Open(opt, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		if err := s.Append(t.Context(), f.Spool, []*capturev1.Frame{f.Frame(storetest.Pairs(n, n+20)...)}); err != nil {
			t.Fatal(err)
		}
		n += 20
		stop()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestS26ShreddedDayByTheAPI: counted, refused where it was not meant, done,
// proven, written down; and the other day is as it was.
func TestS26ShreddedDayByTheAPI(t *testing.T) {
	m, err := keyring.ParseMaster(strings.Repeat("11", 32))
	if err != nil {
		t.Fatal(err)
	}
	var dir string
	api := running(t, func(c *Config) {
		c.Master, c.Retention, dir = m, 0, c.DataDir
		days(t, dir, m, 3, 2)
	})
	before, err := os.ReadFile(filepath.Join(dir, keyring.FileName))
	if err != nil {
		t.Fatal(err)
	}
	day := keyring.DayOf(time.Now().AddDate(0, 0, -3))
	for what, ask := range map[string]client.NewShredding{
		"not over":        {Day: keyring.DayOf(time.Now()), DryRun: true},
		"is not valid":    {Day: "yesterday", DryRun: true},
		"has a key":       {Day: "2001-01-01", DryRun: true},
		"confirm is not":  {Day: day},
		"5 were confirme": {Day: day, Confirm: 5},
	} {
		if _, err := api.Shred(t.Context(), ask); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%+v: %v, want %s", ask, err, what)
		}
	}
	if d, err := api.Shred(t.Context(), client.NewShredding{Day: day, DryRun: true}); err != nil || d.Matched != 20 || d.Deleted != 0 || d.ID == "" {
		t.Errorf("%+v %v", d, err)
	}
	if got := howMany(t, api); got != 40 {
		t.Errorf("%d pairs before", got)
	}
	d, err := api.Shred(t.Context(), client.NewShredding{Day: day, Confirm: 20})
	if err != nil || d.Deleted != 20 || !strings.Contains(d.Proof, `"keys_removed":[`) {
		t.Fatalf("%+v %v", d, err)
	}
	if got := howMany(t, api); got != 20 {
		t.Errorf("%d pairs afterwards, want 20", got)
	}
	var file bytes.Buffer
	if e, err := api.Export(t.Context(), client.Select{}, "jsonl", &file); err != nil || e.Pairs != 20 || e.Unreadable != 0 {
		t.Errorf("%+v %v", e, err)
	}
	after, err := os.ReadFile(filepath.Join(dir, keyring.FileName))
	if err != nil || !bytes.Contains(before, []byte(day)) || bytes.Count(after, []byte(`"wrapped"`)) >= bytes.Count(before, []byte(`"wrapped"`)) {
		t.Errorf("keys before\n%s\nafter\n%s%v", before, after, err)
	}
	events, err := api.AuditPage(t.Context(), 100, "")
	if err != nil {
		t.Fatal(err)
	}
	said := false
	for _, e := range events.Events {
		said = said || e.Action == "day.shred" && strings.Contains(e.Detail, "20 shredded")
	}
	if !said {
		t.Error("it is not in the audit log")
	}
	if _, err := api.Shred(t.Context(), client.NewShredding{Day: day, Confirm: 20}); err == nil || !strings.Contains(err.Error(), "has a key") {
		t.Errorf("a second time: %v", err)
	}
}

func howMany(t *testing.T, api *client.Client) (n int) {
	t.Helper()
	for _, err := range api.Pairs(t.Context(), client.List{}) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	return n
}
