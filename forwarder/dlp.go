package forwarder

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"time"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/forwarder/receive"
	"github.com/weir-capture/weir/internal/atomicfile"
	"github.com/weir-capture/weir/internal/filewatch"
	"github.com/weir-capture/weir/internal/lograte"
	"github.com/weir-capture/weir/internal/vfs"
	"github.com/weir-capture/weir/redact"
)

// maxRuleBytes bounds a file of rules.
const maxRuleBytes = 1 << 20

// dlp is redaction by the rules of DLP_CONFIG, which may be a file that
// changes.
type dlp struct {
	redactor *redact.Redactor
	file     *filewatch.Watcher // nil for a set that comes with the program
	log      *lograte.Logger
}

// noRules is DLP_CONFIG's word for none, where something else would be the
// default.
const noRules = "none"

// loadDLP reads the rules that a setting names; nil for none.
func loadDLP(setting string, keys *redact.Keys, log *slog.Logger) (*dlp, error) {
	if setting == "" || setting == noRules {
		return nil, nil
	}
	d := &dlp{log: lograte.New(log, time.Second)}
	if set, ok := redact.Named(setting); ok {
		d.redactor = redact.New(set, keys)
		return d, nil
	}
	var err error
	d.file, err = filewatch.Watch(setting, maxRuleBytes, func(b []byte) error {
		set, err := redact.Parse(setting, b)
		switch {
		case err != nil:
			return err
		case d.redactor == nil:
			d.redactor = redact.New(set, keys)
		default:
			d.redactor.Use(set)
			log.Info("DLP rules are as DLP_CONFIG says", slog.String("file", setting))
		}
		return nil
	}, func(err error) {
		log.Error("Could not read DLP_CONFIG; the rules stay as they were", slog.String("file", setting), slog.String("error", err.Error()))
	})
	return d, err
}

// checkDLP says what is wrong with a setting.
func checkDLP(setting string) error {
	_, err := loadDLP(setting, nil, slog.New(slog.DiscardHandler))
	return err
}

// keyFile is where a forwarder that was given no DLP_KEY keeps its own.
const keyFile = "dlp.key"

// damagedKey is where one is set aside that cannot be read.
const damagedKey = keyFile + ".damaged"

// OwnKeys reads the key that is kept in a folder for who was given none, and
// makes it the first time. A file that is damaged is set aside, and a new key
// made: values have other tokens from then on, which is less than not starting
// and so not capturing.
func OwnKeys(dir string, log *slog.Logger) (*redact.Keys, error) {
	d, err := vfs.Dir(dir)
	if err != nil {
		return nil, fmt.Errorf("keep a key for DLP: %w", err)
	}
	defer d.Close()
	b, err := atomicfile.Read(d, keyFile, 1<<10)
	if errors.Is(err, fs.ErrNotExist) {
		b = []byte(redact.NewKey() + "\n")
		err = atomicfile.Write(d, keyFile, b)
	}
	if err != nil {
		return nil, fmt.Errorf("keep a key for DLP: %w", err)
	}
	keys, bad := redact.ParseKeys(string(b))
	if bad == nil {
		return keys, nil
	}
	log.Error("The key for DLP is damaged; it is set aside, and values have other tokens from now on",
		slog.String("file", keyFile), slog.String("aside", damagedKey), slog.String("error", bad.Error()))
	fresh := redact.NewKey()
	if err := errors.Join(atomicfile.Write(d, damagedKey, b), atomicfile.Write(d, keyFile, []byte(fresh+"\n"))); err != nil {
		return nil, fmt.Errorf("replace the damaged %s in SPOOL_DIR: %w", keyFile, err)
	}
	return redact.ParseKeys(fresh)
}

// Redact implements receive.Redactor. The pair may be kept in any case: what
// could not be made safe is gone from it.
func (d *dlp) Redact(p *capturev1.RRPair) error {
	if err := d.redactor.Redact(p); err != nil {
		// What the error says comes from rules and syntax, never from the pair.
		d.log.Log(slog.LevelWarn, "Content of a pair is withheld", slog.String("reason", err.Error()))
	}
	return nil
}

// Name implements receive.Redactor.
func (d *dlp) Name() string { return d.redactor.Name() }

// run follows the file of rules until ctx ends.
func (d *dlp) run(ctx context.Context, reload <-chan os.Signal) error {
	if d.file == nil {
		return nil
	}
	return d.file.Run(ctx, reload)
}

var _ receive.Redactor = (*dlp)(nil)
