package memstore_test

import (
	"testing"
	"time"

	"github.com/weir-capture/weir/analyzer/store/memstore"
	"github.com/weir-capture/weir/analyzer/store/storetest"
)

func TestConformance(t *testing.T) {
	storetest.Suite{Open: func(*testing.T) storetest.Engine {
		return memstore.New(func() int64 { return time.Now().UnixNano() })
	}, Every: 3}.Run(t)
}
