package nats

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/phxgate/phxgate/presence"
)

// hand hands the log on until ctx ends, the stream is gone or another, or a hole cannot be filled.
func (b *bucket) hand(ctx context.Context) error {
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	take := func(seq uint64, r *presence.Record) {
		if r == nil {
			b.inbox.Skipped(seq)
		} else {
			b.inbox.Record(r)
		}
	}
	for {
		select {
		case m := <-b.log:
			if err := b.next(ctx, m, take); err != nil {
				return err
			}
		case <-look.C:
			if err := b.look(ctx, take); err != nil {
				return err
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// look makes sure that the stream is the same, and that nothing of its log was missed at the end.
func (b *bucket) look(ctx context.Context, take func(uint64, *presence.Record)) error {
	if !b.link.Available() {
		return nil
	}
	js, err := jetstream.New(b.link.nc())
	if err != nil {
		return err
	}
	asking, cancel := context.WithTimeout(ctx, lookEvery)
	defer cancel()
	mark, err := b.last(asking, b.subjects.Epoch())
	if err != nil {
		return nil // no leader, or no connection: nothing changes meanwhile
	}
	if mark.seq == 0 || uint64(mark.time.UnixNano()) != b.epoch {
		return errors.New("it was made anew, or has lost what it held")
	}
	info, err := b.info(asking, js)
	switch {
	case err != nil:
		return nil
	case info.State.LastSeq > b.applied+uint64(len(b.log)):
		b.filled.Add(1)
		return b.catchUp(ctx, info.State.LastSeq, take)
	}
	return nil
}

// next takes a message of the log, and what is missing before it.
func (b *bucket) next(ctx context.Context, m *natsgo.Msg, take func(uint64, *presence.Record)) error {
	seq, err := strconv.ParseUint(m.Header.Get("Nats-Sequence"), 10, 64)
	if err != nil || seq <= b.applied {
		return nil
	}
	if seq > b.applied+1 {
		b.filled.Add(1)
		if err := b.fill(ctx, seq, take); err != nil {
			return err
		}
	}
	key, _ := b.subjects.logged(m.Subject)
	take(seq, record(seq, key, m.Header, m.Data))
	b.applied = seq
	return nil
}

// fill takes from the stream what was not received before a point. Changes of one key may be fewer there than there were: its last counts.
func (b *bucket) fill(ctx context.Context, before uint64, take func(uint64, *presence.Record)) error {
	for b.applied+1 < before {
		m, err := b.stored(ctx, fmt.Sprintf(`{"seq":%d,"next_by_subj":%q}`, b.applied+1, b.subjects.All()))
		if err != nil {
			return fmt.Errorf("hole in the log behind %d: %w", b.applied, err)
		}
		if m.seq == 0 || m.seq >= before {
			return nil
		}
		take(m.seq, record(m.seq, strings.TrimPrefix(m.subject, strings.TrimSuffix(b.subjects.All(), ">")), m.header, m.data))
		b.applied = m.seq
	}
	return nil
}

// storedMessage is a message of the stream.
type storedMessage struct {
	subject string
	seq     uint64 // 0: there is none
	time    time.Time
	header  natsgo.Header
	data    []byte
}

// last asks for the last message of a subject.
func (b *bucket) last(ctx context.Context, subject string) (storedMessage, error) {
	return b.stored(ctx, fmt.Sprintf(`{"last_by_subj":%q}`, subject))
}

// stored asks the stream's leader, and no replica that may be behind, for a message. It is not an error if there is none, or no stream.
func (b *bucket) stored(ctx context.Context, query string) (storedMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, askBucket)
	defer cancel()
	m, err := b.link.nc().RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET."+b.subjects.Stream(), []byte(query))
	if err != nil {
		return storedMessage{}, err
	}
	var answer struct {
		Error *struct {
			Code        int    `json:"code"`
			Description string `json:"description"`
		} `json:"error"`
		Message struct {
			Subject string    `json:"subject"`
			Seq     uint64    `json:"seq"`
			Time    time.Time `json:"time"`
			Header  []byte    `json:"hdrs"`
			Data    []byte    `json:"data"`
		} `json:"message"`
	}
	if err := json.Unmarshal(m.Data, &answer); err != nil {
		return storedMessage{}, err
	}
	if answer.Error != nil {
		if answer.Error.Code == 404 {
			return storedMessage{}, nil
		}
		return storedMessage{}, errors.New(answer.Error.Description)
	}
	got := &answer.Message
	out := storedMessage{subject: got.Subject, seq: got.Seq, time: got.Time, data: got.Data}
	if len(got.Header) > 0 {
		if out.header, err = natsgo.DecodeHeadersMsg(got.Header); err != nil {
			return storedMessage{}, err
		}
	}
	return out, nil
}

// lostHeader marks the removal of a registration by the service.
const lostHeader = "Phx-Presence"

// record makes a record of a message of the bucket; nil if it is none, or none that changes anything.
func record(seq uint64, key string, header natsgo.Header, data []byte) *presence.Record {
	in, entry, topic, ok := parseKey(key)
	if !ok {
		return nil
	}
	r := &presence.Record{Seq: seq, Incarnation: in, Entry: entry, Topic: topic, Value: data}
	switch {
	case header.Get("Nats-Marker-Reason") != "":
		return nil // the end of a marker
	case header.Get("KV-Operation") == "":
	case entry == "" && header.Get(lostHeader) == "lost":
		r.Op, r.Value = presence.OpLost, nil
	default:
		r.Op, r.Value = presence.OpGone, nil
	}
	return r
}
