package web

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/weir-capture/weir/analyzer/importer"
	"github.com/weir-capture/weir/analyzer/store"
	httpv1 "github.com/weir-capture/weir/api/http/v1"
	"github.com/weir-capture/weir/interchange"
)

const (
	exportPath = "/api/v1/export"
	importPath = "/api/v1/import"
	backupPath = "/api/v1/backup"
	// transferStep is how long an export may fail to get rid of a byte, and an
	// import may wait for one. The whole may take as long as it takes.
	transferStep = time.Minute
	// maxRejected ends an import: the file is of another format.
	maxRejected = 10_000
)

// Trailers of an export: how many pairs are in it, how many its format has no
// place for, and how many nobody can read any more.
const (
	trailerPairs   = "Weir-Pairs"
	trailerLeftOut = "Weir-Left-Out"
	trailerPartial = "Weir-Partial"
)

type (
	exportInput struct {
		Format string `query:"format"`
		Q      string `query:"q"`
		From   string `query:"from"`
		To     string `query:"to"`
	}
	importInput struct {
		Format      string `query:"format"`
		App         string `query:"app"`
		ContentType string `header:"Content-Type"`
	}
)

// Importer takes pairs into the store; *importer.Importer is one.
type Importer interface {
	Begin(app string) (*importer.Import, error)
}

func formatParam(formats []interchange.Format, def interchange.Format) *huma.Param {
	return param("query", "format", "The file's format.", huma.TypeString, func(s *huma.Schema) {
		for _, f := range formats {
			s.Enum = append(s.Enum, string(f))
		}
		s.Default = string(def)
	})
}

func parseFormat(v string, formats []interchange.Format, def interchange.Format) (interchange.Format, error) {
	if v == "" {
		return def, nil
	}
	if f := interchange.Format(v); slices.Contains(formats, f) {
		return f, nil
	}
	return "", badParam("format=%s is not valid; want %s.", shown(v), interchange.Lists(formats))
}

func (s *Server) transfer(api huma.API) {
	download := map[string]*huma.MediaType{}
	for _, f := range interchange.Written {
		download[f.MediaType()] = &huma.MediaType{Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}
	}
	huma.Register(api, ok(operation(
		api, "export-pairs", exportPath, "Download pairs",
		"In the order in which they were stored, as a stream of any length. A stream that ends without its last chunk is not whole. "+
			"The trailers "+trailerPairs+" and "+trailerLeftOut+" say how many pairs are in it, and how many match that the format has no place for; "+
			trailerPartial+" how many were passed over, matching or not, because the store is damaged there. The file is a whole one all the same.",
		[]*huma.Param{
			formatParam(interchange.Written, interchange.HAR), queryParam("What to export; empty for everything."),
			timeParam("from", "Where to begin, included."), timeParam("to", "Where to end, excluded."),
		}, http.StatusBadRequest, http.StatusNotImplemented, http.StatusServiceUnavailable,
	), "The file.", download, nil), s.export)

	huma.Register(api, ok(operation(
		api, "backup-store", backupPath, "Download everything that is stored",
		"A tar file that weir restore makes a data directory of. A stream that ends without its last chunk is not whole.", nil,
		http.StatusNotImplemented, http.StatusServiceUnavailable,
	), "The file.", map[string]*huma.MediaType{"application/x-tar": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}}, nil), s.backup)

	op := operation(
		api, "import-pairs", importPath, "Take in a file of pairs",
		"The body is the file. Pairs keep their ids, and those that are stored already are left out, so that the same file may be sent again. "+
			"Entries that cannot be read are listed, and the others are stored. Nothing redacts or filters what comes in this way.",
		[]*huma.Param{
			formatParam(interchange.Readable, interchange.JSONL),
			param("query", "app", "The app of pairs that name none; "+importer.DefaultApp+" without it.", huma.TypeString),
		}, http.StatusBadRequest, http.StatusUnsupportedMediaType, http.StatusNotImplemented, http.StatusServiceUnavailable, http.StatusInsufficientStorage,
	)
	op.Method = http.MethodPost
	schema := api.OpenAPI().Components.Schemas.Schema(typeOf[httpv1.Import](), true, "Import")
	huma.Register(api, ok(op, "What became of it.", map[string]*huma.MediaType{"application/json": {Schema: schema}}, nil), s.take)
	// Described afterwards: huma would read a body that it knew of, and hold
	// it.
	file := &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{}}
	for _, kind := range []string{"application/octet-stream", "application/json", "application/x-ndjson"} {
		file.Content[kind] = &huma.MediaType{Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}
	}
	api.OpenAPI().Paths[importPath].Post.RequestBody = file
}

// export streams the file. What is wrong before its first byte is a problem;
// afterwards the connection is cut, so that nobody takes a part for the whole.
func (s *Server) export(ctx context.Context, in *exportInput) (*huma.StreamResponse, error) {
	scanner, can := s.deps.Store.(store.Scanner)
	if !can {
		return nil, problem(http.StatusNotImplemented, httpv1.ProblemNotSupported, "GET "+exportPath+" is not supported by this store.")
	}
	format, err := parseFormat(in.Format, interchange.Written, interchange.HAR)
	if err != nil {
		return nil, err
	}
	sel, err := s.selection(ctx, in.Q, in.From, in.To)
	if err != nil {
		return nil, err
	}
	note(ctx, string(format), fmt.Sprintf("from %s to %s q %s", in.From, in.To, in.Q))
	leave, err := s.enterExport()
	if err != nil {
		return nil, err
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		defer leave()
		r, w := humago.Unwrap(hc)
		if r.Method == http.MethodHead { // nothing is read for nobody
			w.Header().Set("Content-Type", format.MediaType())
			return
		}
		s.stream(w, r, format, scanner, store.Scan{Selection: sel})
	}}, nil
}

// enterExport takes a place among the downloads that run at once.
func (s *Server) enterExport() (func(), error) {
	if leave, free := enter(s.exports); free {
		return leave, nil
	}
	return nil, problem(http.StatusServiceUnavailable, httpv1.ProblemBusy,
		fmt.Sprintf("%d exports are running, as many as this analyzer serves. Ask again later.", cap(s.exports)))
}

func (s *Server) backup(context.Context, *noInput) (*huma.StreamResponse, error) {
	if s.deps.Backup == nil {
		return nil, problem(http.StatusNotImplemented, httpv1.ProblemNotSupported, "GET "+backupPath+" is not supported by this store.")
	}
	leave, err := s.enterExport()
	if err != nil {
		return nil, err
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		defer leave()
		r, w := humago.Unwrap(hc)
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		defer context.AfterFunc(s.stopping, cancel)()
		w.Header().Set("Content-Type", "application/x-tar")
		w.Header().Set("Content-Disposition", disposition("weir-"+s.cfg.Now().UTC().Format("20060102-150405")+".tar"))
		if r.Method == http.MethodHead { // nothing is read for nobody
			return
		}
		out := bufio.NewWriterSize(&patient{w: w, ctl: http.NewResponseController(w)}, 64<<10)
		if err := s.deps.Backup(ctx, out); err != nil {
			s.abort(ctx, err)
		}
		if err := out.Flush(); err != nil {
			s.abort(ctx, err)
		}
	}}, nil
}

func (s *Server) stream(w http.ResponseWriter, r *http.Request, format interchange.Format, scanner store.Scanner, scan store.Scan) {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(s.stopping, cancel)()
	next, stop := iter.Pull2(scanner.Scan(ctx, scan))
	defer stop()
	// The first pair tells whether the store can answer at all.
	st, err, more := next()
	if more && err != nil && unreadable(err) == 0 {
		p, _ := errors.AsType[*httpv1.Problem](s.fail(ctx, err))
		writeProblem(w, p)
		return
	}
	name := "weir-" + s.cfg.Now().UTC().Format("20060102-150405") + format.Extension()
	h := w.Header()
	h.Set("Content-Type", format.MediaType())
	h.Set("Content-Disposition", disposition(name))
	h.Set("Trailer", trailerPairs+", "+trailerLeftOut+", "+trailerPartial)
	out := bufio.NewWriterSize(&patient{w: w, ctl: http.NewResponseController(w)}, 64<<10)
	file, wrong := interchange.NewWriter(format, out, s.cfg.Version)
	if wrong != nil {
		s.abort(ctx, wrong)
	}
	var pairs, left, lost uint64
	for ; more; st, err, more = next() {
		if lost = unreadable(err); lost > 0 {
			break // it is the last element
		}
		if err != nil {
			s.abort(ctx, err)
		}
		switch err := file.Write(interchange.Pair{RRPair: st.Pair, Endpoint: st.Endpoint}); {
		case errors.Is(err, interchange.ErrLeftOut):
			left++
		case err != nil:
			s.abort(ctx, err)
		default:
			pairs++
		}
	}
	if err := errors.Join(file.Close(), out.Flush()); err != nil {
		s.abort(ctx, err)
	}
	h.Set(trailerPairs, strconv.FormatUint(pairs, 10))
	h.Set(trailerLeftOut, strconv.FormatUint(left, 10))
	h.Set(trailerPartial, strconv.FormatUint(lost, 10))
	if lost > 0 {
		s.log.WarnContext(ctx, "An export passed over pairs that cannot be read", slog.Uint64("unreadable", lost), slog.Uint64("pairs", pairs))
	}
}

// unreadable is how many pairs a scan passed over; 0 where an error is of
// something else.
func unreadable(err error) uint64 {
	if p, ok := errors.AsType[*store.PartialError](err); ok {
		return p.Unreadable
	}
	return 0
}

// abort cuts the connection of an answer that has begun.
func (s *Server) abort(ctx context.Context, err error) {
	if ctx.Err() == nil {
		s.log.WarnContext(ctx, "A download ended early", slog.String("error", err.Error()))
	}
	panic(http.ErrAbortHandler)
}

// patient gives each write its own time.
type patient struct {
	w   io.Writer
	ctl *http.ResponseController
}

func (p *patient) Write(b []byte) (int, error) {
	if err := p.ctl.SetWriteDeadline(time.Now().Add(transferStep)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, fmt.Errorf("set deadline: %w", err)
	}
	return p.w.Write(b)
}

// patientReader gives each read its own time.
type patientReader struct {
	r   io.Reader
	ctl *http.ResponseController
}

func (p *patientReader) Read(b []byte) (int, error) {
	if err := p.ctl.SetReadDeadline(time.Now().Add(transferStep)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, fmt.Errorf("set deadline: %w", err)
	}
	// Storing what was read before counts for neither side's time.
	_ = p.ctl.SetWriteDeadline(time.Now().Add(10 * transferStep))
	return p.r.Read(b)
}

// simpleTypes are what a page of another site can send without being asked
// first (Fetch standard, CORS-safelisted request header).
var simpleTypes = []string{"text/plain", "application/x-www-form-urlencoded", "multipart/form-data"}

func (s *Server) take(ctx context.Context, in *importInput) (*huma.StreamResponse, error) {
	if s.deps.Importer == nil {
		return nil, problem(http.StatusNotImplemented, httpv1.ProblemNotSupported, "POST "+importPath+" is not supported by this store.")
	}
	format, err := parseFormat(in.Format, interchange.Readable, interchange.JSONL)
	if err != nil {
		return nil, err
	}
	if len(in.App) > httpv1.MaxPrefixLen {
		return nil, badParam("app has %d bytes; want at most %d.", len(in.App), httpv1.MaxPrefixLen)
	}
	if kind, _, err := mime.ParseMediaType(in.ContentType); err != nil || slices.Contains(simpleTypes, kind) {
		return nil, problem(http.StatusUnsupportedMediaType, httpv1.ProblemParameter,
			fmt.Sprintf("Content-Type %s is not one of a file; want application/json, application/x-ndjson or application/octet-stream.", shown(in.ContentType)))
	}
	note(ctx, in.App, string(format))
	run, err := s.deps.Importer.Begin(in.App)
	if errors.Is(err, importer.ErrBusy) {
		return nil, problem(http.StatusServiceUnavailable, httpv1.ProblemBusy, "Another import is running; one runs at a time. Ask again later.")
	}
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		defer run.Close()
		r, w := humago.Unwrap(hc)
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		defer context.AfterFunc(s.stopping, cancel)()
		body := &patientReader{r: r.Body, ctl: http.NewResponseController(w)}
		out, err := s.read(ctx, run, format, body)
		if err != nil {
			p, _ := errors.AsType[*httpv1.Problem](s.fail(ctx, err))
			if errors.Is(err, store.ErrFull) {
				p = problem(http.StatusInsufficientStorage, httpv1.ProblemBlank, "The disk is full.")
			}
			p.Detail += fmt.Sprintf(" %d pairs of the file are stored; the same file may be sent again.", out.Stored)
			writeProblem(w, p)
			return
		}
		writeJSON(w, out)
	}}, nil
}

// read stores what a file holds and collects what is wrong with it.
func (s *Server) read(ctx context.Context, run *importer.Import, format interchange.Format, file io.Reader) (httpv1.Import, error) {
	out := httpv1.Import{Format: string(format), Errors: []httpv1.ImportError{}, Complete: true}
	reject := func(e httpv1.ImportError) {
		out.Rejected++
		if len(out.Errors) < httpv1.MaxImportErrors {
			out.Errors = append(out.Errors, e)
		}
	}
	var failed error
	entry := int64(0)
	for p, err := range interchange.Read(format, file, interchange.Limits{}) {
		entry++
		if wrong, ok := errors.AsType[*interchange.EntryError](err); ok {
			reject(httpv1.ImportError{Entry: wrong.Entry, Line: wrong.Line, Message: wrong.Message, Want: wrong.Want})
			out.Complete = out.Complete && !wrong.Final
		} else if err != nil {
			// The sender went away, or is too slow.
			failed = problem(http.StatusBadRequest, httpv1.ProblemBlank, "The file did not come to its end: "+err.Error()+".")
		} else if err = run.Add(ctx, p); err != nil {
			if tooLarge, ok := errors.AsType[*importer.PairError](err); ok {
				reject(httpv1.ImportError{Entry: entry, Message: tooLarge.Error()})
			} else {
				failed = err
			}
		}
		if out.Rejected >= maxRejected {
			out.Complete = false
			break
		}
		if failed != nil {
			break
		}
	}
	if _, cut := errors.AsType[*httpv1.Problem](failed); failed == nil || cut {
		// What came before the cut counts.
		if err := run.Finish(ctx); failed == nil {
			failed = err
		}
	}
	counts := run.Counts()
	out.Stored, out.Known = counts.Stored, counts.Known
	return out, failed
}
