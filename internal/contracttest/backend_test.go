package contracttest

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/phxgate/phxgate/internal/phxtest"
)

// backend is a plain NATS client, as any service behind the gateways is.
type backend struct {
	t  *testing.T
	nc *nats.Conn
}

func connectBackend(t *testing.T, url string, opts ...nats.Option) *backend {
	t.Helper()
	opts = append([]nats.Option{nats.Timeout(phxtest.Patience()), nats.MaxReconnects(-1), nats.ReconnectWait(20 * time.Millisecond)}, opts...)
	nc, err := nats.Connect(url, opts...)
	if err != nil {
		t.Fatalf("connect %s: %v", url, err)
	}
	b := &backend{t: t, nc: nc}
	t.Cleanup(nc.Close)
	return b
}

// setup starts NATS, one gateway and a backend.
func setup(t *testing.T, rules string, settings ...string) (*gateway, *backend) {
	t.Helper()
	url := phxtest.StartNATS(t)
	b := connectBackend(t, url)
	return startGateway(t, url, rules, settings...), b
}

// message builds a message; headers are name, value, name, value.
func message(subject, body string, headers ...string) *nats.Msg {
	msg := nats.NewMsg(subject)
	msg.Data = []byte(body)
	for i := 0; i+1 < len(headers); i += 2 {
		msg.Header[headers[i]] = append(msg.Header[headers[i]], headers[i+1])
	}
	return msg
}

func (b *backend) publish(subject, body string, headers ...string) {
	b.t.Helper()
	if err := b.nc.PublishMsg(message(subject, body, headers...)); err != nil {
		b.t.Fatalf("publish %s: %v", subject, err)
	}
}

// reply answers a request; it is called by callbacks too and so only logs.
func reply(msg *nats.Msg, body string, headers ...string) {
	_ = msg.RespondMsg(message(msg.Reply, body, headers...)) // the gateway's timeout shows it
}

// listen subscribes; what comes is taken with next.
func (b *backend) listen(subject string) *nats.Subscription {
	b.t.Helper()
	sub, err := b.nc.SubscribeSync(subject)
	if err != nil {
		b.t.Fatalf("subscribe %s: %v", subject, err)
	}
	b.flush()
	return sub
}

// serve answers every message of a subject in a callback.
func (b *backend) serve(subject string, handle func(*nats.Msg)) *nats.Subscription {
	b.t.Helper()
	sub, err := b.nc.Subscribe(subject, handle)
	if err != nil {
		b.t.Fatalf("subscribe %s: %v", subject, err)
	}
	b.flush()
	return sub
}

// answer is serve with one and the same reply.
func (b *backend) answer(subject, body string, headers ...string) *nats.Subscription {
	b.t.Helper()
	return b.serve(subject, func(msg *nats.Msg) { reply(msg, body, headers...) })
}

// ask makes a request and returns the answer's body.
func (b *backend) ask(t *testing.T, subject, body string) string {
	t.Helper()
	m, err := b.nc.Request(subject, []byte(body), phxtest.Patience())
	if err != nil {
		t.Fatalf("request %s %s: %v", subject, body, err)
	}
	return string(m.Data)
}

func (b *backend) flush() {
	b.t.Helper()
	if err := b.nc.FlushTimeout(phxtest.Patience()); err != nil {
		b.t.Fatalf("flush: %v", err)
	}
}

func next(t *testing.T, sub *nats.Subscription) *nats.Msg {
	t.Helper()
	msg, err := nextWithin(sub, phxtest.Patience())
	if err != nil {
		t.Fatalf("nothing on %s: %v", sub.Subject, err)
	}
	return msg
}

// nextWithin leaves out what gateways say to each other, where all is listened to.
func nextWithin(sub *nats.Subscription, d time.Duration) (*nats.Msg, error) {
	for deadline := time.Now().Add(d); ; {
		msg, err := sub.NextMsg(time.Until(deadline))
		if err != nil || sub.Subject != "phx.>" || !strings.HasPrefix(msg.Subject, "phx.fleet.") {
			return msg, err
		}
	}
}

// nothing wants that no message comes for d. Where another message can mark
// the end of the wait, that is to be preferred.
func nothing(t *testing.T, sub *nats.Subscription, d time.Duration) {
	t.Helper()
	if msg, err := nextWithin(sub, d); err == nil {
		t.Errorf("got %s %v %s, want nothing", msg.Subject, msg.Header, msg.Data)
	}
}

// wantHeaders compares the headers named; an empty value means absent.
func wantHeaders(t *testing.T, msg *nats.Msg, pairs ...string) {
	t.Helper()
	for i := 0; i+1 < len(pairs); i += 2 {
		values, present := msg.Header[pairs[i]]
		if got := msg.Header.Get(pairs[i]); got != pairs[i+1] || present != (pairs[i+1] != "") || len(values) > 1 {
			t.Errorf("%s: header %s is %q, want %q", msg.Subject, pairs[i], values, pairs[i+1])
		}
	}
}

// wantJSON compares two JSON texts by value.
func wantJSON(t *testing.T, what string, got []byte, want string) {
	t.Helper()
	var g, w any
	if err := json.Unmarshal(got, &g); err != nil {
		t.Errorf("%s: %q: %v", what, got, err)
	} else if err := json.Unmarshal([]byte(want), &w); err != nil {
		t.Fatalf("want %s: %v", want, err)
	} else if !reflect.DeepEqual(g, w) {
		t.Errorf("%s: got %s\nwant %s", what, got, want)
	}
}

// wantError wants an error reply to ref with {"reason": reason}.
func wantError(t *testing.T, c *phxtest.Client, ref, reason string) {
	t.Helper()
	m := c.WantReply(ref, "")
	if m.Status != "error" {
		t.Errorf("reply to %s: status %q %s, want error %q", ref, m.Status, m.Payload, reason)
		return
	}
	wantJSON(t, "reply to "+ref, m.Payload, `{"reason":"`+reason+`"}`)
}
