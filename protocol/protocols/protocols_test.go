package protocols

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weir-capture/weir/protocol"
	"github.com/weir-capture/weir/protocol/protocoltest"
)

func TestListIsWellFormed(t *testing.T) {
	names, titles := map[string]bool{}, map[string]bool{}
	for _, p := range All() {
		if p.Name == "" || p.Name != strings.ToLower(p.Name) || p.Title == "" || p.Detect == nil {
			t.Errorf("protocol %+v lacks a name, a title or a way to detect it", p.Name)
		}
		if names[p.Name] || titles[p.Title] {
			t.Errorf("protocol %q is twice in the list", p.Name)
		}
		names[p.Name], titles[p.Title] = true, true
		if p.New == nil && p.Advice == "" {
			t.Errorf("protocol %q is not decoded and does not say what that means", p.Name)
		}
		if got, ok := ByName(p.Name); !ok || got.Title != p.Title {
			t.Errorf("ByName(%q) does not find it", p.Name)
		}
	}
	if last := list[len(list)-1]; last.Name != "opaque" {
		t.Errorf("the last protocol is %q, not opaque", last.Name)
	}
	if _, ok := ByName("gopher"); ok {
		t.Error("ByName finds what is not there")
	}
}

// TestEveryFolderIsListed: a protocol's folder without its line in the list
// would never be used.
func TestEveryFolderIsListed(t *testing.T) {
	files, err := filepath.Glob("../*/testdata/*.conv")
	if err != nil {
		t.Fatal(err)
	}
	var folders []string
	for _, f := range files {
		folders = append(folders, filepath.Dir(f))
	}
	folders = slices.Compact(folders)
	listed := map[string]bool{}
	for _, p := range All() {
		listed[p.Name] = true
	}
	for _, f := range folders {
		if name := protocolOf(f); !listed[name] {
			t.Errorf("protocol/%s is not in the list", filepath.Base(filepath.Dir(f)))
		}
	}
	if len(folders) != len(list) {
		t.Errorf("%d protocols in the list, %d folders with conversations", len(list), len(folders))
	}
}

// protocolOf names the protocol that a conversation file or folder is about.
func protocolOf(path string) string {
	for dir := path; ; dir = filepath.Dir(dir) {
		if base := filepath.Base(dir); base == "testdata" {
			name := filepath.Base(filepath.Dir(dir))
			if name == "http1" {
				return "http"
			}
			return name
		}
	}
}

// detect plays steps to the list, as a connection would pass.
func detect(steps []protocoltest.Step) (name string, asked int) {
	var prefix [2][]byte
	for _, s := range steps {
		prefix[s.Dir] = append(prefix[s.Dir], s.Data...)
		asked++
		if p, v := Detect(prefix[0], prefix[1], false); v == protocol.Match {
			return p.Name, asked
		} else if v != protocol.NeedMore {
			return "neither a match nor a question", asked
		}
	}
	p, v := Detect(prefix[0], prefix[1], true)
	if v != protocol.Match {
		return "undecided at the end", asked
	}
	return p.Name, asked
}

// TestConversationsAreTold gives the list the conversations of every protocol:
// none may be taken for another, however its bytes are split.
func TestConversationsAreTold(t *testing.T) {
	files, err := filepath.Glob("../*/testdata/good_*.conv")
	if err != nil || len(files) == 0 {
		t.Fatalf("find conversations: %d, %v", len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		c, err := protocoltest.ParseConversation(string(text))
		if err != nil {
			t.Fatalf("parse %s: %v", file, err)
		}
		want := protocolOf(file)
		if got, _ := detect(c.Steps); got != want {
			t.Errorf("%s is told to be %s", file, got)
		}
		if got, _ := detect(c.Bytewise()); got != want {
			t.Errorf("%s, byte by byte, is told to be %s", file, got)
		}
		r := rand.New(rand.NewPCG(1, 1))
		if got, _ := detect(c.Split(r)); got != want {
			t.Errorf("%s, split at random, is told to be %s", file, got)
		}
	}
}

func TestDetectDecidesEarly(t *testing.T) {
	for _, test := range []struct {
		client, server string
		final          bool
		name           string
		verdict        protocol.Verdict
	}{
		{"", "", false, "", protocol.NeedMore},
		{"", "", true, "opaque", protocol.Match},
		{"G", "", false, "", protocol.NeedMore},
		{"G", "", true, "opaque", protocol.Match},
		{"GET /", "", false, "http", protocol.Match},
		{"PROPFIND /x", "", false, "", protocol.NeedMore},
		{"PROPFIND /x HTTP/1.1\r\n", "", false, "http", protocol.Match},
		{"", "HTTP/1.1 200 OK\r\n", false, "http", protocol.Match},
		{"", "220 mail.example.com ESMTP\r\n", false, "opaque", protocol.Match},
		{"\xff\xfe\xfd\xfc", "", false, "opaque", protocol.Match},
		{"SSH-2.0-OpenSSH_9.6\r\n", "", false, "opaque", protocol.Match},
		{strings.Repeat("x", 10), "", false, "", protocol.NeedMore},
		{strings.Repeat("x", protocol.MaxPrefix+10), "", false, "opaque", protocol.Match},
		{"GET /" + strings.Repeat("x", 2*protocol.MaxPrefix), "", false, "http", protocol.Match},
		{"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "", false, "", protocol.NeedMore},
		{"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "", true, "http2", protocol.Match},
	} {
		p, v := Detect([]byte(test.client), []byte(test.server), test.final)
		if v != test.verdict || p.Name != test.name {
			t.Errorf("Detect(%.30q, %.30q, %v) is %q, %v; want %q, %v", test.client, test.server, test.final, p.Name, v, test.name, test.verdict)
		}
	}
}

// FuzzDetect: detection ends, names something that is in the list, and does
// not depend on how the bytes were split.
func FuzzDetect(f *testing.F) {
	files, err := filepath.Glob("../*/testdata/*.conv")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		c, err := protocoltest.ParseConversation(string(text))
		if err != nil {
			f.Fatal(err)
		}
		var all [2][]byte
		for _, s := range c.Steps {
			all[s.Dir] = append(all[s.Dir], s.Data...)
		}
		if len(all[0])+len(all[1]) < 8<<10 {
			f.Add(all[0], all[1], len(c.Steps) > 0 && c.Steps[0].Dir == protocol.ServerToClient)
		}
	}
	f.Fuzz(func(t *testing.T, client, server []byte, serverFirst bool) {
		steps := []protocoltest.Step{{Dir: protocol.ClientToServer, Data: client}, {Dir: protocol.ServerToClient, Data: server}}
		if serverFirst {
			steps[0], steps[1] = steps[1], steps[0]
		}
		c := protocoltest.Conversation{Steps: steps}
		whole, _ := detect(steps)
		if _, ok := ByName(whole); !ok {
			t.Fatalf("it is %q", whole)
		}
		r := rand.New(rand.NewPCG(uint64(len(client)), uint64(len(server))))
		if split, _ := detect(c.Split(r)); split != whole {
			t.Fatalf("it is %s in one piece, and %s in several", whole, split)
		}
		if p, v := Detect(client, server, true); v != protocol.Match || p.Name == "" {
			t.Fatalf("finally it is %q, %v", p.Name, v)
		} else if p.Describe != nil {
			for _, a := range p.Describe(client, server) {
				if a.Key == "" || a.Value == "" {
					t.Fatalf("described by nothing: %+v", a)
				}
			}
		}
	})
}
