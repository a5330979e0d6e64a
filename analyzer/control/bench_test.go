package control_test

import (
	"runtime"
	"testing"

	"github.com/weir-capture/weir/analyzer/control"
)

// allocated is how many bytes do allocates; nothing else may run meanwhile.
func allocated(do func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	do()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func BenchmarkKeyIdentity(b *testing.B) {
	for name, dsn := range backends(b) {
		b.Run(name, func(b *testing.B) {
			s := store(b, dsn)
			_, secret, err := s.CreateKey(b.Context(), control.NewKey{Name: "k", Kind: control.KeyForwarder})
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.KeyIdentity(b.Context(), secret); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkSessionIdentity(b *testing.B) {
	for name, dsn := range backends(b) {
		b.Run(name, func(b *testing.B) {
			s := store(b, dsn)
			if _, err := s.CreateUser(b.Context(), control.NewUser{Name: "ann", Password: "correct horse battery", Role: control.RoleAdmin}); err != nil {
				b.Fatal(err)
			}
			ses, _, err := s.SignIn(b.Context(), "ann", "correct horse battery", "")
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := s.SessionIdentity(b.Context(), ses.Token); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkAudit(b *testing.B) {
	for name, dsn := range backends(b) {
		b.Run(name, func(b *testing.B) {
			s := store(b, dsn)
			for b.Loop() {
				if err := s.Audit(b.Context(), control.Event{Actor: control.Local(), Action: "body.view", Target: "0198…", Result: control.ResultOK}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func backends(b *testing.B) map[string]string {
	return map[string]string{"sqlite": fresh(b), "postgres": server(b).database(b)}
}
