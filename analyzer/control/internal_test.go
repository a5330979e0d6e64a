package control

import (
	"bytes"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func FuzzParseKey(f *testing.F) {
	id, secret := strings.Repeat("a", idLen), strings.Repeat("b", secretLen)
	for _, k := range keyKinds {
		f.Add(formatKey(k, id, secret))
	}
	f.Add("weir_a_" + id + "_" + secret)
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		kind, id, err := parseKey(text)
		if err != nil {
			return
		}
		// What is a key is written in one way only.
		rest := strings.TrimPrefix(text, keyPrefix+string(kind.letter())+"_"+id+"_")
		if len(rest) != secretLen+checksumLen || formatKey(kind, id, rest[:secretLen]) != text {
			t.Errorf("%q: kind %q, id %q", text, kind, id)
		}
	})
}

func FuzzParsePHC(f *testing.F) {
	f.Add(phc{cost: defaultArgon, salt: make([]byte, saltLen), hash: make([]byte, hashLen)}.String())
	f.Add("$argon2id$v=19$m=4294967295,t=1,p=255$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA")
	f.Add("$argon2id$v=19$m=08,t=1,p=1$AAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA")
	f.Add("$argon2id$v=19$m=8,t=1,p=1$AAAAAAAAA\nAA$AAAAAAAAAAAAAAAAAAAAAA")
	f.Add("$argon2i$v=19$m=8,t=1,p=1$$")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := parsePHC(text)
		if err != nil {
			if len(text) > 40 && strings.Contains(err.Error(), text) {
				t.Errorf("the error has the hash: %v", err)
			}
			return
		}
		if p.String() != text {
			t.Errorf("%q became %q", text, p)
		}
		if !p.cost.valid() || p.cost.Memory > maxMemory || len(p.hash) > 64 || len(p.salt) > 64 {
			t.Errorf("out of bounds: %+v", p)
		}
	})
}

func FuzzParseAnchor(f *testing.F) {
	f.Add([]byte(formatAnchor(point{7, strings.Repeat("a", 64)})))
	f.Add([]byte(strings.Repeat(" ", anchorLine)))
	f.Fuzz(func(t *testing.T, line []byte) {
		if p, ok := parseAnchor(line); ok && !bytes.Equal([]byte(formatAnchor(p)), line) {
			t.Errorf("%q became %q", line, formatAnchor(p))
		}
	})
}

// TestS27ChainProperty: whatever events there are, changing any field of any
// one, leaving any out, or exchanging any two that differ, is noticed, where
// it is.
func TestS27ChainProperty(t *testing.T) {
	text := rapid.String()
	rapid.Check(t, func(t *rapid.T) {
		s, err := Open(t.Context(), filepath.Join(dir(t), "control.db"), Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		n := rapid.IntRange(1, 8).Draw(t, "events")
		for range n {
			e := Event{
				Actor:  Identity{Kind: text.Draw(t, "kind"), ID: text.Draw(t, "id"), Name: text.Draw(t, "name"), Role: Role(text.Draw(t, "role"))},
				Action: text.Draw(t, "action"), Target: text.Draw(t, "target"), Detail: text.Draw(t, "detail"), From: text.Draw(t, "from"), Result: Result(text.Draw(t, "result")),
			}
			if err := s.Audit(t.Context(), e); err != nil {
				t.Fatal(err)
			}
		}
		if r, err := s.VerifyAudit(t.Context()); err != nil || !r.Intact || r.Events != int64(n) {
			t.Fatalf("untouched: %+v, %v", r, err)
		}
		behind := func(query string, args ...any) {
			t.Helper()
			if _, err := s.db.writer.ExecContext(t.Context(), query, args...); err != nil {
				t.Fatal(err)
			}
		}
		behind(`DROP TRIGGER audit_is_not_edited`)
		behind(`DROP TRIGGER audit_is_not_deleted`)
		at := int64(rapid.IntRange(1, n).Draw(t, "at"))
		switch rapid.SampledFrom([]string{"edit", "delete", "cut", "swap"}).Draw(t, "how") {
		case "edit":
			column := rapid.SampledFrom([]string{"actor_kind", "actor_id", "actor_name", "actor_role", "action", "target", "detail", "origin", "result", "hash"}).Draw(t, "column")
			behind(fmt.Sprintf(`UPDATE audit SET %s = %s || 'x' WHERE seq = $1`, column, column), at)
		case "delete":
			behind(`DELETE FROM audit WHERE seq = $1`, at)
		case "cut":
			behind(`DELETE FROM audit WHERE seq >= $1`, at)
			behind(`UPDATE audit_head SET seq = $1, hash = coalesce((SELECT hash FROM audit WHERE seq = $1), '')`, at-1)
		case "swap":
			other := int64(rapid.IntRange(1, n).Draw(t, "other"))
			if other == at {
				return
			}
			behind(`UPDATE audit SET seq = 1000 WHERE seq = $1`, at)
			behind(`UPDATE audit SET seq = $1 WHERE seq = $2`, at, other)
			behind(`UPDATE audit SET seq = $1 WHERE seq = 1000`, other)
			at = min(at, other)
		}
		if r, err := s.VerifyAudit(t.Context()); err != nil || r.Intact || r.At != at {
			t.Fatalf("%+v, %v: want a problem at %d", r, err, at)
		}
	})
}

func dir(t *rapid.T) string {
	d, err := os.MkdirTemp("", "weir-control")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(d) })
	return d
}

// TestTablesAreAllCopied: a backup of PostgreSQL leaves out no table and no
// column.
func TestTablesAreAllCopied(t *testing.T) {
	s, err := Open(t.Context(), filepath.Join(t.TempDir(), "control.db"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	copied := map[string][]string{}
	for _, table := range tables {
		copied[table.name] = table.columns
	}
	err = each(t.Context(), s.db.reader, func(r *sql.Rows) error {
		var table, column string
		if err := r.Scan(&table, &column); err != nil {
			return err
		}
		if table != "meta" && !slices.Contains(copied[table], column) {
			t.Errorf("%s.%s is not copied", table, column)
		}
		return nil
	}, `SELECT m.name, c.name FROM sqlite_master m, pragma_table_info(m.name) c WHERE m.type = 'table'`)
	if err != nil {
		t.Fatal(err)
	}
}

func TestDelay(t *testing.T) {
	if d := delay(5, 5); d != 0 {
		t.Error(d)
	}
	last := firstDelay
	for n := int64(6); n < 100; n++ {
		d := delay(n, 5)
		if d < last || d > mostDelay {
			t.Errorf("%d failures: %v", n, d)
		}
		last = d
	}
	if d := delay(1<<62, 5); d != mostDelay {
		t.Error(d)
	}
}

func TestAddress(t *testing.T) {
	for from, want := range map[string]string{
		"192.0.2.1:99": "192.0.2.1", "192.0.2.1": "192.0.2.1", "::ffff:192.0.2.1": "192.0.2.1", "[::ffff:192.0.2.1]:1": "192.0.2.1",
		"[2001:db8:1:2:3:4:5:6]:7": "2001:db8:1:2::/64", "fe80::1%eth0": "fe80::/64", "@": "@", "nonsense": "nonsense",
	} {
		if got := address(from); got != want {
			t.Errorf("%q: %q, want %q", from, got, want)
		}
	}
}

func TestRoles(t *testing.T) {
	roles := Roles()
	for i, a := range roles {
		for j, b := range roles {
			if a.AtLeast(b) != (i >= j) {
				t.Errorf("%s at least %s: %v", a, b, a.AtLeast(b))
			}
		}
		if a.AtLeast("") || a.AtLeast("root") || Role("").AtLeast(a) || Role("root").AtLeast(a) {
			t.Errorf("%s beside roles that do not exist", a)
		}
	}
}
