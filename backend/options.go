package backend

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/phxgate/phxgate/backend/internal/wire"
)

// Conn is what a Backend needs of NATS. A *nats.Conn is one; backendtest has one without a server. What a Backend publishes goes out on it in the order of the calls.
type Conn interface {
	PublishMsg(msg *nats.Msg) error
	RequestMsgWithContext(ctx context.Context, msg *nats.Msg) (*nats.Msg, error)
	ChanQueueSubscribe(subject, queue string, messages chan *nats.Msg) (*nats.Subscription, error)
	FlushWithContext(ctx context.Context) error
}

// Options are the settings of a Backend; the zero value is good.
type Options struct {
	Prefix       string        // of all subjects, as the gateways' SUBJECT_PREFIX; default "phx"
	Queue        string        // queue group: of all backends with the same one, one gets a message; default "backend"
	Workers      int           // handlers that run at once; default 256
	Waiting      int           // messages that may wait for a worker; more: calls are answered {"reason":"overloaded"}, joins fail, the rest is dropped, all of it logged; default 16,384
	Timeout      time.Duration // what a handler's ctx allows it, and a request whose ctx has no deadline; default 5s, as the rules' timeout
	DrainTimeout time.Duration // how long Serve may go on after its ctx has ended; default 10s
	Log          *slog.Logger  // default slog.Default()
}

// filled returns the options with their defaults, or says which one is bad.
func (o Options) filled() (Options, error) {
	o.Prefix = cmp.Or(o.Prefix, "phx")
	o.Queue = cmp.Or(o.Queue, "backend")
	o.Workers = cmp.Or(o.Workers, 256)
	o.Waiting = cmp.Or(o.Waiting, 16_384)
	o.Timeout = cmp.Or(o.Timeout, 5*time.Second)
	o.DrainTimeout = cmp.Or(o.DrainTimeout, 10*time.Second)
	o.Log = cmp.Or(o.Log, slog.Default())
	switch {
	case !wire.ValidPrefix(o.Prefix):
		return o, fmt.Errorf("backend: Options.Prefix: %q is no prefix of subjects", o.Prefix)
	case strings.ContainsAny(o.Queue, " \t\r\n"):
		return o, fmt.Errorf("backend: Options.Queue: %q has white space", o.Queue)
	case o.Workers < 0 || o.Waiting < 0:
		return o, fmt.Errorf("backend: Options.Workers and Waiting: %d and %d: one is negative", o.Workers, o.Waiting)
	case o.Timeout < 0 || o.DrainTimeout < 0:
		return o, fmt.Errorf("backend: Options.Timeout and DrainTimeout: %v and %v: one is negative", o.Timeout, o.DrainTimeout)
	}
	return o, nil
}
