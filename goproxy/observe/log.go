package observe

import (
	"context"
	"log/slog"
	"slices"

	"github.com/weir-capture/weir/pair"
	"github.com/weir-capture/weir/protocol"
)

// log writes a line about the connection, for somebody who debugs it.
func (c *Conn) log(msg string, attrs ...slog.Attr) {
	if !c.o.debug {
		return
	}
	c.o.set.Log.LogAttrs(context.Background(), slog.LevelDebug, msg, slices.Concat([]slog.Attr{
		slog.String("remoteAddr", c.link.Client), slog.String("directAddr", c.link.Server), slog.Uint64("cid", c.link.ID),
	}, attrs)...)
}

// exchangeLog is nil, and costs nothing, unless somebody debugs.
func (c *Conn) exchangeLog(p *protocol.Protocol) pair.Observer {
	if !c.o.debug {
		return nil
	}
	return &exchangeLog{c: c, title: p.Title}
}

// exchangeLog writes a line for each request and response.
type exchangeLog struct {
	c     *Conn
	title string
}

// Request implements pair.Observer. The path comes without the query, which
// may hold secrets.
func (l *exchangeLog) Request(seq uint64, path []byte) {
	l.c.log(l.title+" REQUEST", slog.Uint64("sequenceNum", seq), slog.String("url", string(l.c.o.set.LogPath(path))))
}

// Response implements pair.Observer.
func (l *exchangeLog) Response(seq, size uint64) {
	l.c.log(l.title+" RESPONSE", slog.Uint64("sequenceNum", seq), slog.Uint64("responseLength", size))
}
