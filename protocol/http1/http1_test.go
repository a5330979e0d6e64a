package http1

import (
	"testing"

	"github.com/weir-capture/weir/protocol/protocoltest"
)

func TestConversations(t *testing.T) { protocoltest.Run(t, Protocol) }

func FuzzDecoder(f *testing.F) { protocoltest.Fuzz(f, Protocol) }
