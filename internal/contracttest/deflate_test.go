package contracttest

import (
	"bufio"
	"net/http"
	"strings"
	"testing"

	"github.com/phxgate/phxgate/internal/phxtest"
)

// What is agreed on about compression, by what a client offers (RFC 7692 §5 and §7.1).
func TestCompressOffers(t *testing.T) {
	t.Parallel()
	natsURL := phxtest.StartNATS(t)
	plain, g := startGateway(t, natsURL, everything), startGateway(t, natsURL, everything, "COMPRESS=true")
	const agreed = "permessage-deflate;server_no_context_takeover;client_no_context_takeover"
	for _, test := range []struct{ offer, want string }{
		{"permessage-deflate", agreed},
		{"permessage-deflate; client_max_window_bits", agreed}, // browsers
		{"permessage-deflate; server_no_context_takeover; client_no_context_takeover", agreed},
		{"x-webkit-deflate-frame, permessage-deflate", agreed},
		{"permessage-deflate; server_max_window_bits=10", ""},                         // cannot be met
		{"permessage-deflate; server_max_window_bits=10, permessage-deflate", agreed}, // the second can
		{"permessage-deflate; nonsense=1", ""},
		{"permessage-deflate; client_max_window_bits=99", ""},
		{"x-other", ""},
	} {
		if got := extensions(t, g, test.offer); got != test.want {
			t.Errorf("%q: agreed on %q, want %q", test.offer, got, test.want)
		}
		if got := extensions(t, plain, test.offer); got != "" {
			t.Errorf("%q: agreed on %q without COMPRESS", test.offer, got)
		}
	}
}

// extensions is what the gateway answers to an offer.
func extensions(t *testing.T, g *gateway, offer string) string {
	t.Helper()
	conn := g.tcp(t, strings.TrimSuffix(upgradeHead, "\r\n")+"Sec-WebSocket-Extensions: "+offer+"\r\n\r\n")
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || response.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%q: %v %v", offer, response, err)
	}
	return strings.Join(response.Header.Values("Sec-WebSocket-Extensions"), ", ")
}
