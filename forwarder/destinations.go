package forwarder

import (
	"errors"
	"fmt"
	"math/rand/v2"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/daemon"
	"github.com/weir-capture/weir/forwarder/export"
	"github.com/weir-capture/weir/forwarder/export/analyzer"
	"github.com/weir-capture/weir/forwarder/export/file"
	"github.com/weir-capture/weir/forwarder/filter"
	"github.com/weir-capture/weir/internal/access"
)

// destinations lists where pairs go: the analyzer of ANALYZER_ADDR, then what
// EXPORTERS names.
func (c Config) destinations() ([]export.Destination, error) {
	var all []export.Destination
	if c.Analyzer != "" {
		all = append(all, export.Destination{Name: analyzer.Name, Type: export.Analyzer, Addr: c.Analyzer, Access: c.Access})
	}
	if c.Exporters == "" {
		if len(all) == 0 {
			return nil, errors.New("there is no destination: neither ANALYZER_ADDR nor EXPORTERS is set")
		}
		return all, nil
	}
	more, err := export.Load(c.Exporters)
	if err != nil {
		return nil, err
	}
	for _, d := range more {
		switch {
		case c.Analyzer == "":
		case d.Name == analyzer.Name:
			return nil, fmt.Errorf("%s: the name %q belongs to the analyzer of ANALYZER_ADDR: take another, or leave ANALYZER_ADDR out", c.Exporters, d.Name)
		case d.Addr == c.Analyzer:
			return nil, fmt.Errorf("%s: addr %q is ANALYZER_ADDR too: leave one of them out", c.Exporters, d.Addr)
		}
	}
	return append(all, more...), nil
}

// names of destinations, which are those of their cursors.
func names(destinations []export.Destination) []string {
	names := make([]string, len(destinations))
	for i, d := range destinations {
		names[i] = d.Name
	}
	return names
}

// exporter builds a destination; here is the line for each type.
func (f *Forwarder) exporter(d export.Destination) (export.Exporter, error) {
	var own *filter.Filter
	if d.FilterRule != "" {
		var err error
		if own, err = filter.Load(d.FilterRule); err != nil {
			return nil, fmt.Errorf("load filter of destination %s: %w", d.Name, err)
		}
	}
	switch d.Type {
	case export.Analyzer:
		shown, err := access.New(d.Access, f.log)
		if err != nil {
			return nil, fmt.Errorf("prepare for destination %s: %w", d.Name, err)
		}
		return analyzer.New(analyzer.Settings{
			Access: shown,
			Name:   d.Name, Addr: d.Addr, ForwarderID: f.id, Cluster: f.cfg.Cluster, Version: daemon.Version,
			Spool: f.spool, Filter: own, Status: f.status, Rand: rand.Float64, Log: f.log, Repeated: f.repeated,
		}), nil
	case export.File:
		return file.New(file.Settings{
			Name: d.Name, Path: d.Path, MaxBytes: d.MaxBytes, Keep: d.Keep,
			Spool: f.spool, Filter: own, Rand: rand.Float64, Log: f.log, Repeated: f.repeated,
		}), nil
	}
	return nil, fmt.Errorf("destination %s: no exporter of type %q", d.Name, d.Type)
}

// states says of each destination how far it is.
func (f *Forwarder) states() []*capturev1.DestinationState {
	states := make([]*capturev1.DestinationState, len(f.exporters))
	for i, x := range f.exporters {
		states[i] = x.State()
	}
	return states
}
