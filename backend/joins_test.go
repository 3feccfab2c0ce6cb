package backend

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
)

// small is a Conn that takes short bodies alone.
type small struct {
	*fakeConn
	most int
}

func (c small) PublishMsg(msg *nats.Msg) error {
	if len(msg.Data) > c.most {
		return nats.ErrMaxPayload
	}
	return c.fakeConn.PublishMsg(msg)
}

// answerJoins registers handlers for room:* and slow:*.
func answerJoins(b *Backend) {
	b.Topic("room:*").AuthorizeJoin(func(_ context.Context, r *JoinRequest) (JoinReply, error) {
		switch r.Topic {
		case "room:no":
			return JoinReply{}, Refuse{Reason: "unauthorized"}
		case "room:disk":
			return JoinReply{}, errors.New("disk")
		case "room:panic":
			panic("boom")
		}
		return JoinReply{Response: fmt.Sprint(r.Topic, r.Recheck, r.Reauthorize)}, nil
	})
	b.Topic("slow:*").AuthorizeJoin(func(_ context.Context, r *JoinRequest) (JoinReply, error) {
		<-time.After(time.Second)
		return JoinReply{}, nil
	})
}

func batchOf(joins ...string) *nats.Msg {
	return &nats.Msg{Subject: "phx.authz.joins", Reply: "r", Data: []byte(`{"joins":[` + strings.Join(joins, ",") + `]}`)}
}

// A batch is answered with what each join's handler says, in their order, and null for topics that others serve.
func TestJoins(t *testing.T) {
	const ok = `{"status":"ok","response":{}}`
	for _, c := range []struct {
		joins []string
		want  string
	}{
		{nil, ``},
		{[]string{`{"topic":"other"}`, `{"topic":"lobby"}`}, `null,null`},
		{[]string{`{"topic":"room:1"}`, `{"topic":"other"}`, `{"topic":"room:no"}`, `{"topic":"room:2","recheck":true}`, `{"topic":"room:3","reauthorize":true}`},
			`{"status":"ok","response":"room:1false false"},null,{"response":{"reason":"unauthorized"},"status":"error"},{"status":"ok","response":"room:2true false"},{"status":"ok","response":"room:3false true"}`},
		{[]string{`{"topic":"room:disk"}`, `{"topic":"room:panic"}`, `{"topic":"room:no"}`}, `{"error":"internal"},{"error":"internal"},{"response":{"reason":"unauthorized"},"status":"error"}`},
		{[]string{`{"topic":"slow:1"}`, `{"topic":"slow:2"}`}, ok + `,` + ok}, // together: each ctx has a second less than the test's Timeout
	} {
		synctest.Test(t, func(t *testing.T) {
			conn := new(fakeConn)
			stop := serve(t, conn, Options{Timeout: 1500 * time.Millisecond}, answerJoins)
			start := time.Now()
			conn.messages <- batchOf(c.joins...)
			if err := stop(); err != nil {
				t.Error(err)
			}
			if got, want := conn.take(), []string{`r  {"joins":[` + c.want + `]}`}; !slices.Equal(got, want) {
				t.Errorf("%q: answered %q, want %q", c.joins, got, want)
			}
			if took := time.Since(start); took > time.Second {
				t.Errorf("%q: took %v: the joins waited for each other", c.joins, took)
			}
		})
	}
}

// Joins that find no room fail closed, and the others of their batch are answered.
func TestJoinsOverload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := new(fakeConn)
		stop := serve(t, conn, Options{Workers: 1, Waiting: 2}, answerJoins)
		conn.messages <- batchOf(`{"topic":"slow:1"}`)
		synctest.Wait()
		conn.messages <- batchOf(`{"topic":"room:1"}`, `{"topic":"room:no"}`, `{"topic":"room:2"}`, `{"topic":"other"}`)
		if err := stop(); err != nil {
			t.Error(err)
		}
		want := []string{`r  {"joins":[{"status":"ok","response":{}}]}`,
			`r  {"joins":[{"status":"ok","response":"room:1false false"},{"response":{"reason":"unauthorized"},"status":"error"},{"error":"internal"},null]}`}
		if got := conn.take(); !slices.Equal(got, want) {
			t.Errorf("answered %q, want %q", got, want)
		}
	})
}

// What NATS does not take at once is left for the gateway to ask about alone.
func TestJoinsTooLarge(t *testing.T) {
	for most, want := range map[int]int{1000: 8, 250: 4, 160: 2, 60: 0} {
		conn := &small{fakeConn: new(fakeConn), most: most}
		b, err := New(conn, Options{})
		if err != nil {
			t.Fatal(err)
		}
		answerJoins(b)
		if ok, err := b.Deliver(context.Background(), batchOf(slices.Repeat([]string{`{"topic":"room:1"}`}, 8)...)); !ok || err != nil {
			t.Fatal(ok, err)
		}
		got := conn.take()
		if len(got) != 1 || strings.Count(got[0], `"ok"`) != want || strings.Count(got[0], "null") != 8-want {
			t.Errorf("%d bytes: answered %q, want %d joins", most, got, want)
		}
	}
}

// What no gateway sends is left alone.
func TestJoinsAreStrict(t *testing.T) {
	b, err := New(new(fakeConn), Options{})
	if err != nil {
		t.Fatal(err)
	}
	answerJoins(b)
	for _, msg := range []*nats.Msg{batchOf(`null`), batchOf(`1`), {Subject: "phx.authz.joins", Reply: "r", Data: []byte(`[`)}, {Subject: "phx.authz.joins", Data: []byte(`{"joins":[]}`)}} {
		if ok, err := b.Deliver(context.Background(), msg); ok || err == nil {
			t.Errorf("%s: taken %v, %v", msg.Data, ok, err)
		}
	}
}
