package phxtest

import (
	"context"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// Target is the server that transcripts are played against.
type Target struct {
	// Base is where each mount of the transcripts is served: "/socket" →
	// "http://127.0.0.1:4000" (or https).
	Base map[string]string
	// Path is the path of a mount on that server, where it is another than the
	// transcripts': "/limited" → "/socket".
	Path map[string]string
	// TLS is for https.
	TLS *tls.Config
}

// locate returns the base URL of a step's path, and its path there.
func (t Target) locate(path string) (*url.URL, string, error) {
	first, rest, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	mount := "/" + first
	base, ok := t.Base[mount]
	if !ok {
		return nil, "", fmt.Errorf("the target has no mount %s", mount)
	}
	u, err := url.Parse(base)
	if err != nil {
		return nil, "", err
	}
	if other, ok := t.Path[mount]; ok {
		mount = other
	}
	return u, strings.TrimSuffix(u.Path, "/") + mount + "/" + rest, nil
}

// player plays one transcript.
type player struct {
	target  Target
	log     Log
	bound   Bindings
	sockets map[string]*socket
	pending map[string]*exchange // by the name that http_start gave
}

// Run plays a transcript and returns nil if the server did what it says, else
// an error that names the step and holds the transcript so far. Its
// connections are closed when it returns.
func Run(ctx context.Context, target Target, t Transcript) error {
	ctx, cancel := context.WithCancel(ctx)
	p := &player{target: target, sockets: map[string]*socket{}, pending: map[string]*exchange{}}
	defer p.end(cancel)
	for i, step := range t.Steps {
		if err := p.play(ctx, step); err != nil {
			return fmt.Errorf("%s, %q, step %d: %w\nstep: %s\ntranscript so far:\n%s",
				t.File, t.Name, i+1, err, shorten(step.String()), &p.log)
		}
	}
	return nil
}

// end closes what is open and waits for what runs.
func (p *player) end(cancel context.CancelFunc) {
	cancel()
	for _, s := range p.sockets {
		s.drop(false)
	}
	for _, x := range p.pending {
		<-x.done
	}
}

func (p *player) play(ctx context.Context, step Step) error {
	switch {
	case step.Open != nil:
		return p.open(ctx, step)
	case step.SleepMS != nil:
		return pause(ctx, *step.SleepMS)
	case step.HTTP != nil:
		return p.http(ctx, *step.HTTP, step.Expect)
	case step.HTTPStart != nil:
		return p.httpStart(ctx, step.As, *step.HTTPStart)
	case step.HTTPFinish != nil:
		return p.httpFinish(*step.HTTPFinish, step.Expect)
	case step.HTTPCollect != nil:
		return p.httpCollect(ctx, *step.HTTPCollect, step.Messages)
	}
	s, ok := p.sockets[step.As]
	if !ok {
		return fmt.Errorf("no connection is called %q", step.As)
	}
	return p.playOn(ctx, s, step)
}

func (p *player) playOn(ctx context.Context, s *socket, step Step) error {
	switch {
	case step.Send != nil, step.SendText != nil, step.SendHex != nil:
		return p.send(s, step)
	case step.Recv != nil:
		return p.recv(ctx, s, step.Recv)
	case step.RecvHex != nil:
		return p.recvHex(ctx, s, *step.RecvHex)
	case step.RecvSet != nil:
		return p.recvSet(ctx, s, step.RecvSet, step.Optional)
	case step.RecvUntil != nil:
		return p.recvUntil(ctx, s, step.RecvUntil)
	case step.QuietMS != nil:
		return p.quiet(ctx, s, *step.QuietMS)
	case step.Closed != nil:
		return p.closed(ctx, s, step.Closed)
	case step.Drain:
		s.forget()
		return nil
	case step.Close != nil:
		return p.close(s, *step.Close)
	case step.Kill:
		p.log.Note(s.name, "kill")
		s.drop(false)
		return nil
	}
	return errors.New("a step that does nothing")
}

func (p *player) open(ctx context.Context, step Step) error {
	base, path, err := p.target.locate(step.Path)
	if err != nil {
		return err
	}
	query, err := p.query(step.Query)
	if err != nil {
		return err
	}
	headers, err := p.strings(step.Headers)
	if err != nil {
		return err
	}
	opts := []Option{Name(*step.Open), WithLog(&p.log), Protocols(step.Protocols...), TLS(p.target.TLS)}
	for name, value := range headers {
		opts = append(opts, Header(name, value))
	}
	scheme := strings.Replace(base.Scheme, "http", "ws", 1)
	s, err := openSocket(ctx, scheme+"://"+base.Host+path+query, newConfig(opts))
	if err != nil {
		return err
	}
	if old, ok := p.sockets[s.name]; ok {
		old.drop(false)
	}
	p.sockets[s.name] = s
	if want := step.ExpectProtocol; want != nil && *want != s.protocol {
		return fmt.Errorf("subprotocol %q, want %q", s.protocol, *want)
	}
	return nil
}

// strings fills in values and wants strings; other values stand as their JSON.
func (p *player) strings(values map[string]json.RawMessage) (map[string]string, error) {
	filled := make(map[string]string, len(values))
	for name, value := range values {
		s, err := p.string(value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		filled[name] = s
	}
	return filled, nil
}

func (p *player) string(value json.RawMessage) (string, error) {
	text, err := fillText(value, p.bound)
	if err != nil {
		return "", err
	}
	var s string
	if json.Unmarshal(text, &s) == nil {
		return s, nil
	}
	return string(text), nil
}

// query is the query string with its "?", empty for none: percent-encoded,
// sorted by name, which puts vsn last as phoenix.js does.
func (p *player) query(values map[string]json.RawMessage) (string, error) {
	filled, err := p.strings(values)
	if err != nil || len(filled) == 0 {
		return "", err
	}
	query := url.Values{}
	for name, value := range filled {
		query.Set(name, value)
	}
	return "?" + strings.ReplaceAll(query.Encode(), "+", "%20"), nil
}

func pause(ctx context.Context, ms int) error {
	timer := time.NewTimer(Scaled(time.Duration(ms) * time.Millisecond))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func unhex(text string) ([]byte, error) {
	data, err := hex.DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("the step's hex: %w", err)
	}
	return data, nil
}
