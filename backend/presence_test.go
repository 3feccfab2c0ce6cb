package backend_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/phxgate/phxgate/backend"
	"github.com/phxgate/phxgate/backend/backendtest"
)

func TestPresence(t *testing.T) {
	h := backendtest.New(t)
	ctx := context.Background()
	const topic = "room:1"
	for i := range 450 { // more than two pages
		channel := fmt.Sprintf("g.s.%d", i)
		if err := h.Track(ctx, topic, channel, fmt.Sprintf("user-%03d", i%445), map[string]int{"n": i}); err != nil {
			t.Fatal(err)
		}
	}
	all, err := h.Presences(ctx, topic)
	if err != nil || len(all) != 445 || len(all["user-000"].Metas) != 2 {
		t.Fatalf("%d keys, %d metas of user-000, %v", len(all), len(all["user-000"].Metas), err)
	}
	if err := h.Update(ctx, topic, "g.s.7", "", map[string]int{"n": -1}); err != nil {
		t.Fatal(err)
	}
	page, next, err := h.PresencesPage(ctx, topic, "user-006", 1)
	var meta struct {
		N       int
		PhxRef  string `json:"phx_ref"`
		PhxPrev string `json:"phx_ref_prev"`
	}
	if err != nil || next != "user-007" || len(page["user-007"].Metas) != 1 {
		t.Fatalf("page %v, next %q, %v", page, next, err)
	}
	if err := json.Unmarshal(page["user-007"].Metas[0], &meta); err != nil || meta.N != -1 || meta.PhxRef == "" || meta.PhxPrev == "" || meta.PhxRef == meta.PhxPrev {
		t.Errorf("meta %+v, %v", meta, err)
	}
	for range 2 { // to untrack what is not there is fine
		if err := h.Untrack(ctx, topic, "g.s.7", "user-007"); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		err    error
		reason string
	}{
		{h.Update(ctx, topic, "g.s.7", "user-007", nil), "not tracked"},
		{h.Track(ctx, topic, "g.s.8", "user-008", nil), "already tracked"},
	} {
		var refused *backend.PresenceError
		if !errors.As(c.err, &refused) || refused.Reason != c.reason {
			t.Errorf("%v, want %q", c.err, c.reason)
		}
	}
	if err := h.Track(ctx, topic, "g.s", "k", nil); !errors.Is(err, backend.ErrInvalidChannel) {
		t.Error(err)
	}
	if err := h.Track(ctx, topic, "g.s.1", "k", []int{1}); !errors.Is(err, backend.ErrInvalidPayload) {
		t.Error(err)
	}
	if _, err := h.Presences(ctx, ""); !errors.Is(err, backend.ErrInvalidTopic) {
		t.Error(err)
	}
}

// canned answers every request with a body, or with an error.
type canned struct {
	backend.Conn
	body string
	err  error
	asks int
}

func (c *canned) RequestMsgWithContext(ctx context.Context, _ *nats.Msg) (*nats.Msg, error) {
	if c.asks++; c.asks > 10 {
		return nil, errors.New("asked for ever")
	}
	if _, ok := ctx.Deadline(); !ok {
		return nil, errors.New("a request without a deadline")
	}
	return &nats.Msg{Data: []byte(c.body)}, c.err
}

func TestPresenceTrouble(t *testing.T) {
	ask := func(c *canned) error {
		b, err := backend.New(c, backend.Options{})
		if err != nil {
			t.Fatal(err)
		}
		_, err = b.Presences(context.Background(), "room:1")
		return err
	}
	if err := ask(&canned{err: nats.ErrNoResponders}); !errors.Is(err, backend.ErrNoService) {
		t.Errorf("nobody serves: %v", err)
	}
	if err := ask(&canned{err: nats.ErrTimeout}); !errors.Is(err, nats.ErrTimeout) {
		t.Errorf("timeout: %v", err)
	}
	var refused *backend.PresenceError
	if err := ask(&canned{body: `{"error":"too large, ask for pages"}`}); !errors.As(err, &refused) {
		t.Errorf("error: %v", err)
	}
	for _, body := range []string{``, `[]`, `{}`, `{"presences":{},"next":""}x`} {
		if err := ask(&canned{body: body}); err == nil {
			t.Errorf("%q is taken", body)
		}
	}
	c := &canned{body: `{"presences":{"a":{"metas":[]}},"next":"a"}`} // never comes to an end
	if err := ask(c); err == nil || c.asks > 2 {
		t.Errorf("after %d pages: %v", c.asks, err)
	}
}
