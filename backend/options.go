package backend

import (
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
	Waiting      int           // messages that may wait for a worker; more are answered {"reason":"overloaded"}, or dropped and logged; default 16,384
	Timeout      time.Duration // what a handler's ctx allows it, and a request whose ctx has no deadline; default 5s, as the rules' timeout
	DrainTimeout time.Duration // how long Serve may go on after its ctx has ended; default 10s
	Log          *slog.Logger  // default slog.Default()
}

// filled returns the options with their defaults, or says which one is bad.
func (o Options) filled() (Options, error) {
	if o.Prefix == "" {
		o.Prefix = "phx"
	}
	if o.Queue == "" {
		o.Queue = "backend"
	}
	for _, n := range []struct {
		value *int
		name  string
		usual int
	}{{&o.Workers, "Workers", 256}, {&o.Waiting, "Waiting", 16_384}} {
		if *n.value < 0 {
			return o, fmt.Errorf("backend: Options.%s: %d is negative", n.name, *n.value)
		}
		if *n.value == 0 {
			*n.value = n.usual
		}
	}
	for _, d := range []struct {
		value *time.Duration
		name  string
		usual time.Duration
	}{{&o.Timeout, "Timeout", 5 * time.Second}, {&o.DrainTimeout, "DrainTimeout", 10 * time.Second}} {
		if *d.value < 0 {
			return o, fmt.Errorf("backend: Options.%s: %v is negative", d.name, *d.value)
		}
		if *d.value == 0 {
			*d.value = d.usual
		}
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if !wire.ValidPrefix(o.Prefix) {
		return o, fmt.Errorf("backend: Options.Prefix: %q is no prefix of subjects", o.Prefix)
	}
	if strings.ContainsAny(o.Queue, " \t\r\n") {
		return o, fmt.Errorf("backend: Options.Queue: %q has white space", o.Queue)
	}
	return o, nil
}
