package phxtest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gobwas/ws"
)

// linger is how long an optional frame of a recv_set may come after the last
// one that had to come, before scaling.
const linger = 200 * time.Millisecond

func (p *player) send(s *socket, step Step) error {
	switch {
	case step.SendText != nil:
		return s.send(ws.OpText, []byte(*step.SendText))
	case step.SendHex != nil:
		data, err := unhex(*step.SendHex)
		if err != nil {
			return err
		}
		return s.send(ws.OpBinary, data)
	}
	text, err := fillText(step.Send, p.bound)
	if err != nil {
		return err
	}
	return s.send(ws.OpText, text)
}

func (p *player) recv(ctx context.Context, s *socket, pattern json.RawMessage) error {
	f, err := s.recv(ctx, Patience())
	if err != nil {
		return err
	}
	ok, err := p.matches(pattern, f)
	if err == nil && !ok {
		err = fmt.Errorf("got %v", f)
	}
	return err
}

// matches matches a frame, and keeps what the pattern bound. A binary frame
// or one that is not JSON matches nothing.
func (p *player) matches(pattern json.RawMessage, f Frame) (bool, error) {
	want, err := decodeJSON(pattern)
	if err != nil {
		return false, fmt.Errorf("pattern: %w", err)
	}
	v, err := decodeJSON(f.Data)
	if err != nil || f.Binary {
		return false, nil
	}
	var ok bool
	p.bound, ok = matchValue(want, v, p.bound)
	return ok, nil
}

func (p *player) recvHex(ctx context.Context, s *socket, text string) error {
	want, err := unhex(text)
	if err != nil {
		return err
	}
	f, err := s.recv(ctx, Patience())
	if err != nil {
		return err
	}
	if !f.Binary || !bytes.Equal(f.Data, want) {
		return fmt.Errorf("got %v", f)
	}
	return nil
}

func (p *player) recvUntil(ctx context.Context, s *socket, pattern json.RawMessage) error {
	deadline := time.Now().Add(Patience())
	for {
		f, err := s.recv(ctx, time.Until(deadline))
		if err != nil {
			return err
		}
		if ok, err := p.matches(pattern, f); ok || err != nil {
			return err
		}
	}
}

// recvSet takes frames until each of the required patterns has one of its
// own. A frame that fits no arrangement fails at once.
func (p *player) recvSet(ctx context.Context, s *socket, required, optional []json.RawMessage) error {
	patterns := make([]any, 0, len(required)+len(optional))
	for _, text := range slices.Concat(required, optional) {
		pattern, err := decodeJSON(text)
		if err != nil {
			return fmt.Errorf("pattern: %w", err)
		}
		patterns = append(patterns, pattern)
	}
	var got []any
	for {
		if _, ok := arrange(patterns, len(required), got, p.bound); ok {
			err := p.recvOptional(ctx, s, patterns, len(required), &got)
			if after, ok := arrange(patterns, len(required), got, p.bound); ok {
				p.bound = after
			}
			return err
		}
		f, err := s.recv(ctx, Patience())
		if err != nil {
			return fmt.Errorf("after %d of the frames: %w", len(got), err)
		}
		v, err := decodeJSON(f.Data)
		if f.Binary || err != nil {
			return fmt.Errorf("got %v", f)
		}
		got = append(got, v)
		if !matchSet(patterns, got, p.bound, func(Bindings) bool { return true }) {
			return fmt.Errorf("got %v, which is none of them, or one too many", f)
		}
	}
}

// recvOptional takes the optional frames that come shortly after the others.
func (p *player) recvOptional(ctx context.Context, s *socket, patterns []any, required int, got *[]any) error {
	deadline := time.Now().Add(Scaled(linger))
	for len(*got) < len(patterns) {
		f, err := s.peek(ctx, time.Until(deadline))
		var closed *ClosedError
		if errors.Is(err, ErrTimeout) || errors.As(err, &closed) {
			return nil
		}
		if err != nil {
			return err
		}
		v, err := decodeJSON(f.Data)
		if f.Binary || err != nil {
			return nil
		}
		if _, ok := arrange(patterns, required, append(slices.Clip(*got), v), p.bound); !ok {
			return nil
		}
		*got = append(*got, v)
		if _, err := s.recv(ctx, 0); err != nil {
			return err
		}
	}
	return nil
}

// arrange gives each value a pattern of its own such that the first required
// patterns all have one.
func arrange(patterns []any, required int, values []any, b Bindings) (Bindings, bool) {
	if len(values) < required {
		return b, false
	}
	after, found := b, false
	// Each required pattern takes a value first; what is left must fit the
	// optional ones.
	var from func(i int, left []any, b Bindings) bool
	from = func(i int, left []any, b Bindings) bool {
		if i == required {
			return matchSet(patterns[required:], left, b, func(b Bindings) bool {
				after, found = b, true
				return true
			})
		}
		for j, v := range left {
			rest := slices.Concat(left[:j], left[j+1:])
			if match(patterns[i], v, b, func(b Bindings) bool { return from(i+1, rest, b) }) {
				return true
			}
		}
		return false
	}
	from(0, values, b)
	return after, found
}

func (p *player) quiet(ctx context.Context, s *socket, ms int) error {
	f, err := s.recv(ctx, Scaled(time.Duration(ms)*time.Millisecond))
	switch {
	case err == nil:
		return fmt.Errorf("got %v", f)
	case errors.Is(err, ErrTimeout):
		return nil
	}
	return err
}

func (p *player) closed(ctx context.Context, s *socket, codes []int) error {
	f, err := s.recv(ctx, Patience())
	var closed *ClosedError
	switch {
	case err == nil:
		return fmt.Errorf("got %v", f)
	case errors.As(err, &closed) && slices.Contains(codes, closed.Code):
		return nil
	}
	return err
}

// close sends a close frame and waits for the server to end the connection.
func (p *player) close(s *socket, code int) error {
	if err := s.send(ws.OpClose, ws.NewCloseFrameBody(ws.StatusCode(code), "")); err != nil {
		return err
	}
	timer := time.NewTimer(Patience())
	defer timer.Stop()
	select {
	case <-s.ended:
		return nil
	case <-timer.C:
		return errors.New("the server does not end the connection")
	}
}
