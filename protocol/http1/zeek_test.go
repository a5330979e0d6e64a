package http1_test

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/weir-capture/weir/protocol"
	"github.com/weir-capture/weir/protocol/protocols"
	"github.com/weir-capture/weir/protocol/protocoltest"
)

// TestR26ZeekTraces replays the packet traces of Zeek through detection and the
// decoder, and compares the exchanges with Zeek's log of requests: method,
// host, target, version, status, body lengths, and which response belongs to
// which request.
func TestR26ZeekTraces(t *testing.T) {
	dir := protocoltest.Corpora(t, "../..", "zeek-http")
	differences := protocoltest.LoadDifferences(t, "testdata/zeek-differences.txt")
	text, err := os.ReadFile(filepath.Join(dir, "manifest.json"))
	if err != nil {
		t.Fatalf("read manifest: %v", err)
	}
	var manifest struct {
		Cases []struct{ Case, Pcap, Expected string }
	}
	if err := json.Unmarshal(text, &manifest); err != nil {
		t.Fatalf("read manifest: %v", err)
	}
	for _, c := range manifest.Cases {
		want, err := readHTTPLog(filepath.Join(dir, c.Expected))
		if err != nil {
			t.Fatalf("%s: %v", c.Case, err)
		}
		conns, err := readTrace(filepath.Join(dir, c.Pcap))
		if err != nil {
			t.Fatalf("%s: %v", c.Case, err)
		}
		if len(conns) == 0 || len(conns) > 1 && len(want[""]) > 0 {
			t.Errorf("%s: the trace has %d connections, which do not fit the log", c.Case, len(conns))
		}
		for port := range want {
			if port != "" && !slices.ContainsFunc(conns, func(c *conn) bool { return c.port() == port }) {
				t.Errorf("%s: the connection from port %s is not in the trace", c.Case, port)
			}
		}
		// Connection by connection, so that one which differs does not hide
		// the others. Some logs do not say which connection they are about;
		// their traces have only one.
		for i, conn := range conns {
			name := c.Case
			if len(conns) > 1 {
				name = fmt.Sprintf("%s port %s", c.Case, conn.port())
			}
			rows := want[conn.port()]
			if i == 0 && len(want[""]) > 0 {
				rows = want[""]
			}
			got := replay(t, conn)
			differences.Check(name, compareRows(rows, got))
		}
	}
	differences.Done()
}

// row is an exchange in the words of Zeek's log. "-" is unset, and a column
// that the log does not have is empty.
type row struct {
	method, host, uri, version, status, requestLen, responseLen string
}

func compareRows(want, got []row) (differs []string) {
	for i := range max(len(want), len(got)) {
		switch {
		case i >= len(want):
			differs = append(differs, fmt.Sprintf("we also have %+v", got[i]))
		case i >= len(got):
			differs = append(differs, fmt.Sprintf("Zeek also has %+v", want[i]))
		default:
			g := got[i]
			if want[i].status == "" { // only what was asked
				g.version, g.status, g.requestLen, g.responseLen = "", "", "", ""
			}
			if want[i] != g {
				differs = append(differs, fmt.Sprintf("Zeek has %+v, we have %+v", want[i], g))
			}
		}
	}
	return differs
}

// readHTTPLog reads a log into rows by client port ("" where the log does not
// have it), in order of their depth.
func readHTTPLog(file string) (map[string][]row, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read log: %w", err)
	}
	rows := map[string][]row{}
	type depth struct {
		port string
		n    int
	}
	at := map[depth]row{}
	var columns []string
	for _, line := range strings.Split(string(text), "\n") {
		if rest, ok := strings.CutPrefix(line, "#fields\t"); ok {
			columns = strings.Split(rest, "\t")
			continue
		}
		if line == "" || line[0] == '#' {
			continue
		}
		values := strings.Split(line, "\t")
		if columns == nil {
			columns = values // a log without comments begins with their names
			continue
		}
		get := func(column string) string {
			if i := slices.Index(columns, column); i >= 0 && i < len(values) {
				return strings.ReplaceAll(values[i], `\x22`, `"`)
			}
			return ""
		}
		n, err := strconv.Atoi(get("trans_depth"))
		if err != nil {
			return nil, fmt.Errorf("read depth: %w", err)
		}
		if get("method") == "-" && get("status_code") == "-" {
			continue // Zeek's entry for the end of a connection
		}
		r := row{get("method"), get("host"), get("uri"), get("version"), get("status_code"), get("request_body_len"), get("response_body_len")}
		at[depth{get("id.orig_p"), n}] = r
	}
	for d := range at {
		if rows[d.port] == nil {
			for n := 1; ; n++ {
				r, ok := at[depth{d.port, n}]
				if !ok {
					break
				}
				rows[d.port] = append(rows[d.port], r)
			}
		}
	}
	return rows, nil
}

// replay gives a connection to detection and to the decoder, and pairs what
// comes out by order.
func replay(t *testing.T, c *conn) []row {
	var prefix [2][]byte
	for _, s := range c.steps {
		prefix[s.Dir] = append(prefix[s.Dir], s.Data...)
		p, v := protocols.Detect(prefix[0], prefix[1], false)
		if v != protocol.Match {
			continue
		}
		if p.Name != "http" {
			return nil
		}
		break
	}
	p, _ := protocols.ByName("http")
	pairs := &pairs{}
	d := protocol.Drive(p.New, pairs)
	for _, s := range c.steps {
		var err error
		switch {
		case s.End:
			err = d.Close(s.Dir, s.At, !s.Reset)
		case s.Gap > 0:
			err = d.Gap(s.Dir, s.At, s.Gap)
		default:
			err = d.Data(s.Dir, s.At, s.Data)
		}
		if err != nil {
			t.Logf("port %s: %v", c.port(), err)
			break
		}
	}
	return pairs.rows()
}

// exchange is a request, a response, or both.
type exchange struct {
	row
	requestBody, responseBody side
}

type side struct {
	head []byte
	body []byte
}

// pairs is a Sink that pairs by order.
type pairs struct {
	all               []*exchange
	waiting           []*exchange
	request, response *exchange
}

func (p *pairs) Begin(b protocol.Begin) {
	switch b.Kind {
	case protocol.Request:
		x := &exchange{row: row{method: string(b.Method), host: dash(b.Host), version: "-", status: "-"}}
		_, rest, _ := strings.Cut(firstLine(b.Head), " ")
		if i := strings.LastIndex(rest, "HTTP/"); i == 0 || i > 0 && rest[i-1] == ' ' {
			rest = rest[:i]
		}
		x.uri = strings.TrimSpace(rest)
		if plain, err := url.PathUnescape(x.uri); err == nil {
			x.uri = plain // as Zeek logs it
		}
		if x.uri == "" {
			x.uri = "(empty)"
		}
		x.requestBody.head = bytes.Clone(b.Head)
		p.all, p.waiting, p.request = append(p.all, x), append(p.waiting, x), x
	case protocol.Response:
		if len(p.waiting) > 0 {
			p.response, p.waiting = p.waiting[0], p.waiting[1:]
		} else {
			p.response = &exchange{row: row{method: "-", host: "-", uri: "-"}}
			p.all = append(p.all, p.response)
		}
		p.response.responseBody.head = bytes.Clone(b.Head)
		p.response.status = strconv.Itoa(b.Status)
		p.response.version = "0.9"
		if len(b.Head) > 8 {
			p.response.version = string(b.Head[5:8])
		}
	}
}

func (p *pairs) Body(b protocol.Body) {
	if b.Dir == protocol.ClientToServer {
		p.request.requestBody.body = append(p.request.requestBody.body, b.Data...)
		return
	}
	p.response.responseBody.body = append(p.response.responseBody.body, b.Data...)
}

func (p *pairs) End(protocol.End) {}

func (p *pairs) rows() (rows []row) {
	for _, x := range p.all {
		x.requestLen, x.responseLen = x.requestBody.length(), x.responseBody.length()
		rows = append(rows, x.row)
	}
	return rows
}

func firstLine(b []byte) string {
	line, _, _ := bytes.Cut(b, []byte("\n"))
	return strings.TrimRight(string(line), "\r")
}

func dash(b []byte) string {
	if len(b) == 0 {
		return "-"
	}
	return string(b)
}

// length is that of the body without its content coding: Zeek undoes it.
func (s *side) length() string {
	body := s.body
	var r io.Reader
	var err error
	for line := range strings.Lines(strings.ToLower(string(s.head))) {
		if rest, ok := strings.CutPrefix(line, "content-encoding:"); ok && len(body) > 0 {
			switch strings.TrimSpace(rest) {
			case "gzip":
				r, err = gzip.NewReader(bytes.NewReader(body))
			case "deflate":
				if r, err = zlib.NewReader(bytes.NewReader(body)); err != nil {
					r, err = flate.NewReader(bytes.NewReader(body)), nil
				}
			}
		}
	}
	if r != nil && err == nil {
		if plain, err := io.ReadAll(r); err == nil || len(plain) > 0 {
			body = plain
		}
	}
	return strconv.Itoa(len(body))
}

// conn is a TCP connection of a trace.
type conn struct {
	client string // address and port
	steps  []protocoltest.Step
	half   [2]tcpHalf
}

func (c *conn) port() string { return c.client[strings.LastIndex(c.client, ":")+1:] }

// tcpHalf puts the segments of one direction in order.
type tcpHalf struct {
	started bool
	next    uint32
	late    []segment // came before what belongs in front of them
	ended   bool
}

type segment struct {
	seq  uint32
	data []byte
	fin  bool
	at   protocol.Time
}

// readTrace reads the TCP connections of a pcap file, in the order in which
// they begin, each with its bytes in the order of the capture.
func readTrace(file string) ([]*conn, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("open trace: %w", err)
	}
	defer f.Close()
	r, err := pcapgo.NewReader(f)
	if err != nil {
		return nil, fmt.Errorf("read trace: %w", err)
	}
	const rawIPv4 = 228 // a link type that gopacket does not decode
	var first gopacket.Decoder = r.LinkType()
	if r.LinkType() == rawIPv4 {
		first = layers.LayerTypeIPv4
	}
	var conns []*conn
	byPair := map[string]*conn{}
	for {
		data, info, err := r.ReadPacketData()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read packet: %w", err)
		}
		packet := gopacket.NewPacket(data, first, gopacket.Default)
		network := packet.NetworkLayer()
		tcp, ok := packet.Layer(layers.LayerTypeTCP).(*layers.TCP)
		if !ok || network == nil {
			continue
		}
		from := fmt.Sprintf("%s:%d", network.NetworkFlow().Src(), tcp.SrcPort)
		to := fmt.Sprintf("%s:%d", network.NetworkFlow().Dst(), tcp.DstPort)
		c := byPair[from+to]
		if c == nil {
			c = &conn{client: from}
			if tcp.SYN && tcp.ACK || !tcp.SYN && tcp.SrcPort < tcp.DstPort {
				c.client = to
			}
			byPair[from+to], byPair[to+from] = c, c
			conns = append(conns, c)
		}
		dir := protocol.ClientToServer
		if from != c.client {
			dir = protocol.ServerToClient
		}
		c.packet(dir, tcp, info.Timestamp.UnixNano())
	}
	for _, c := range conns {
		c.flush()
	}
	return conns, nil
}

func (c *conn) packet(dir protocol.Direction, tcp *layers.TCP, at protocol.Time) {
	h := &c.half[dir]
	seq := tcp.Seq
	if tcp.SYN {
		h.started, h.next = true, seq+1
		seq++
	}
	if tcp.RST {
		c.end(dir, at, true)
		return
	}
	if !h.started {
		h.started, h.next = true, seq
	}
	if len(tcp.Payload) > 0 || tcp.FIN {
		h.late = append(h.late, segment{seq, bytes.Clone(tcp.Payload), tcp.FIN, at})
		c.inOrder(dir)
	}
}

// inOrder passes on what is next.
func (c *conn) inOrder(dir protocol.Direction) {
	h := &c.half[dir]
	for again := true; again; {
		again = false
		for i, s := range h.late {
			ahead := int32(s.seq - h.next)
			if ahead > 0 {
				continue
			}
			h.late = slices.Delete(h.late, i, i+1)
			if seen := -int(ahead); seen < len(s.data) {
				c.steps = append(c.steps, protocoltest.Step{Dir: dir, At: s.at, Data: s.data[seen:]})
				h.next += uint32(len(s.data) - seen)
			}
			if s.fin && s.seq+uint32(len(s.data)) == h.next {
				c.end(dir, s.at, false)
			}
			again = true
			break
		}
	}
}

func (c *conn) end(dir protocol.Direction, at protocol.Time, reset bool) {
	if h := &c.half[dir]; !h.ended {
		h.ended = true
		c.steps = append(c.steps, protocoltest.Step{Dir: dir, At: at, End: true, Reset: reset})
	}
}

// flush makes gaps of what was never captured.
func (c *conn) flush() {
	for dir := range c.half {
		h := &c.half[dir]
		for len(h.late) > 0 && !h.ended {
			s := slices.MinFunc(h.late, func(a, b segment) int { return int(int32(a.seq - b.seq)) })
			c.steps = append(c.steps, protocoltest.Step{Dir: protocol.Direction(dir), At: s.at, Gap: int64(s.seq - h.next)})
			h.next = s.seq
			c.inOrder(protocol.Direction(dir))
		}
	}
}
