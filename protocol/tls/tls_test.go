package tls

import (
	"testing"

	"github.com/weir-capture/weir/protocol/protocoltest"
)

func TestConversations(t *testing.T) { protocoltest.Run(t, Protocol) }

func FuzzDetect(f *testing.F) { protocoltest.Fuzz(f, Protocol) }
