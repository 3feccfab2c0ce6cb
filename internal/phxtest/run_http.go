package phxtest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// exchange is an HTTP request in the background.
type exchange struct {
	done   chan struct{} // closed when answer and err are set
	answer answer
	err    error
}

func (p *player) http(ctx context.Context, r Request, want *Expect) error {
	a, err := p.request(ctx, r)
	if err != nil {
		return err
	}
	return p.expect(a, want)
}

func (p *player) httpStart(ctx context.Context, name string, r Request) error {
	send, err := p.prepare(r)
	if err != nil {
		return err
	}
	x := &exchange{done: make(chan struct{})}
	p.pending[name] = x
	go func() {
		defer close(x.done)
		x.answer, x.err = send(ctx)
	}()
	return nil
}

func (p *player) httpFinish(name string, want *Expect) error {
	x, ok := p.pending[name]
	if !ok {
		return fmt.Errorf("no request is called %q", name)
	}
	<-x.done // roundTrip has a deadline
	delete(p.pending, name)
	if x.err != nil {
		return x.err
	}
	return p.expect(x.answer, want)
}

// httpCollect repeats a poll until it brought all messages in order.
func (p *player) httpCollect(ctx context.Context, r Request, messages []json.RawMessage) error {
	deadline := time.Now().Add(pollPatience())
	for matched := 0; matched < len(messages); {
		if time.Now().After(deadline) {
			return fmt.Errorf("%d of %d messages: %w", matched, len(messages), ErrTimeout)
		}
		a, err := p.request(ctx, r)
		if err != nil {
			return err
		}
		var poll struct {
			Status   int
			Messages []string
		}
		if err := json.Unmarshal(a.body, &poll); err != nil || a.status != http.StatusOK || poll.Status != http.StatusOK {
			return fmt.Errorf("poll after %d messages: status %d, body %s", matched, a.status, shorten(string(a.body)))
		}
		for _, text := range poll.Messages {
			if matched == len(messages) {
				return fmt.Errorf("got %s after the last message", shorten(text))
			}
			ok, err := p.matches(messages[matched], Frame{Data: []byte(text)})
			if err != nil {
				return err
			}
			if !ok {
				return fmt.Errorf("message %d: got %s, want %s", matched+1, shorten(text), shorten(string(messages[matched])))
			}
			matched++
		}
	}
	return nil
}

func (p *player) request(ctx context.Context, r Request) (answer, error) {
	send, err := p.prepare(r)
	if err != nil {
		return answer{}, err
	}
	return send(ctx)
}

// prepare fills in a request, and returns what sends it: apart, so that a
// request in the background does not read the bindings.
func (p *player) prepare(r Request) (func(context.Context) (answer, error), error) {
	base, target, err := p.target.locate(r.Path)
	if err != nil {
		return nil, err
	}
	query, err := p.query(r.Query)
	if err != nil {
		return nil, err
	}
	headers, err := p.strings(r.Headers)
	if err != nil {
		return nil, err
	}
	var body string
	if r.Body != nil {
		if body, err = p.string(r.Body); err != nil {
			return nil, err
		}
	}
	target += query
	return func(ctx context.Context) (answer, error) {
		p.log.add("http", "→", shorten(fmt.Sprintf("%s %s %v %s", r.Method, target, headers, body)))
		a, err := roundTrip(ctx, base, p.target.TLS, r.Method, target, headers, []byte(body))
		if err != nil {
			p.log.add("http", "←", err.Error())
			return a, err
		}
		p.log.add("http", "←", fmt.Sprintf("%d %v %s", a.status, a.header, shorten(string(a.body))))
		return a, nil
	}, nil
}

func (p *player) expect(a answer, want *Expect) error {
	if want == nil {
		return nil
	}
	if want.Status != 0 && a.status != want.Status {
		return fmt.Errorf("status %d, want %d", a.status, want.Status)
	}
	if want.Body != nil && string(a.body) != *want.Body {
		return fmt.Errorf("body %s, want %q", shorten(string(a.body)), *want.Body)
	}
	for name, value := range want.Headers {
		got, present := a.header[http.CanonicalHeaderKey(name)]
		switch {
		case value == nil && present:
			return fmt.Errorf("header %s is %q, want none", name, got)
		case value != nil && (len(got) != 1 || got[0] != *value):
			return fmt.Errorf("header %s is %q, want %q", name, got, *value)
		}
	}
	if want.JSON != nil {
		ok, err := p.matches(want.JSON, Frame{Data: a.body})
		if err != nil {
			return err
		}
		if !ok {
			return fmt.Errorf("body %s does not match", shorten(string(a.body)))
		}
	}
	return nil
}
