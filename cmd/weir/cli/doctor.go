package cli

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"time"

	httpv1 "github.com/weir-capture/weir/api/http/v1"
	"github.com/weir-capture/weir/client"
	"github.com/weir-capture/weir/doctor"
)

// maxEnvFile bounds an env-file.
const maxEnvFile = 1 << 20

// diagnose looks at this machine, then asks the analyzer what it knows.
func diagnose(ctx context.Context, std IO, api *client.Client, programs Programs, c doctorCommand) error {
	m := doctor.Machine{SpoolDir: programs.SpoolDir, DataDir: programs.DataDir}
	if programs.Config != nil {
		m.Config = func(p doctor.Program, lookup func(string) (string, bool)) error {
			return programs.Config(string(p), lookup)
		}
	}
	if len(c.EnvFile) == 0 {
		m.Environments = []doctor.Environment{{Lookup: os.LookupEnv}}
	}
	for _, name := range c.EnvFile {
		vars, err := envFile(name)
		if err != nil {
			return &UsageError{err}
		}
		m.Environments = append(m.Environments, doctor.Environment{
			Name: name, Lookup: func(k string) (string, bool) { v, ok := vars[k]; return v, ok },
		})
	}
	checks := m.Examine(ctx)

	asked := time.Now()
	info, err := api.Info(ctx)
	answered := time.Now()
	checks = append(checks, doctor.AnalyzerAnswers(api.URL(), err))
	if err == nil {
		checks = append(checks, doctor.Clock(api.URL(), info.Now, asked, answered))
		if there, err := api.Doctor(ctx); err != nil {
			// What was found here is worth as much.
			checks = append(checks, doctor.AnalyzerAnswers(api.URL(), err))
		} else {
			checks = append(checks, there.Checks...)
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	report := doctor.Report(time.Now(), checks)
	if c.Output == "json" {
		err = writeJSON(std.Out, report)
	} else {
		var b bytes.Buffer
		printDoctor(&b, report, std.Color)
		err = write(std.Out, b.Bytes())
	}
	if err != nil {
		return err
	}
	if report.Status != doctor.OK {
		return ErrQuiet
	}
	return nil
}

func envFile(name string) (map[string]string, error) {
	st, err := os.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("read env-file: %w", err)
	}
	if st.Size() > maxEnvFile {
		return nil, fmt.Errorf("read env-file: %s has %d bytes, at most %d", name, st.Size(), maxEnvFile)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read env-file: %w", err)
	}
	vars, err := doctor.ReadEnvFile(string(b))
	if err != nil {
		return nil, fmt.Errorf("read env-file: %s: %w", name, err)
	}
	return vars, nil
}

// printDoctor shows what is wrong in full, and what is well in a line.
func printDoctor(b *bytes.Buffer, r httpv1.Doctor, color bool) {
	mark := func(status string) string {
		word := fmt.Sprintf("%-7s", status)
		if !color {
			return word
		}
		switch status {
		case doctor.OK:
			return "\x1b[32m" + word + "\x1b[0m"
		case doctor.Warning:
			return "\x1b[33m" + word + "\x1b[0m"
		case doctor.Failure:
			return "\x1b[31m" + word + "\x1b[0m"
		}
		return word
	}
	n := map[string]int{}
	for _, c := range r.Checks {
		n[c.Status]++
		where := ""
		if c.Where != "" {
			where = " (" + clean(c.Where, false) + ")"
		}
		fmt.Fprintf(b, "%s  %s%s: %s\n", mark(c.Status), c.Title, where, clean(c.Found, false))
		if c.Cause != "" {
			fmt.Fprintf(b, "         Why  %s\n", clean(c.Cause, false))
		}
		if c.Fix != "" {
			fmt.Fprintf(b, "         Do   %s\n", clean(c.Fix, false))
		}
	}
	fmt.Fprintf(b, "\n%d well, %d warnings, %d failures", n[doctor.OK], n[doctor.Warning], n[doctor.Failure])
	if n[doctor.Skipped] > 0 {
		fmt.Fprintf(b, ", %d to know", n[doctor.Skipped])
	}
	fmt.Fprintln(b, ".")
}
