package nats

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/phxgate/phxgate/presence"
)

// BucketConfig is what the presence bucket is made with.
type BucketConfig struct {
	Replicas int  // 1 to 5
	Memory   bool // else in files
}

// Times of the bucket.
const (
	markerTTL   = 10 * time.Minute // of what says that a key is gone
	bucketTries = time.Second      // between attempts to reach or make the bucket
	askBucket   = 5 * time.Second  // for one request; a stream without a leader answers when it has one
	lookEvery   = 2 * time.Second  // whether the stream is still the same
)

// bucket follows the presence bucket: it makes it, loads it, and hands the log on without a hole.
type bucket struct {
	cfg      BucketConfig
	subjects PresenceSubjects
	link     *Link
	inbox    presence.LogInbox
	log      chan *natsgo.Msg // what was published anew; filled by the reader, never closed

	epoch   uint64
	applied uint64
	said    string // the last failure that was logged
}

// follow is a goroutine's work until ctx ends.
func (b *bucket) follow(ctx context.Context) {
	for ctx.Err() == nil {
		err := b.load(ctx)
		if err == nil {
			b.said = ""
			err = b.hand(ctx)
			b.inbox.Unloaded()
		}
		if err != nil && ctx.Err() == nil {
			b.tell(err)
		}
		wait(ctx, bucketTries)
	}
}

// tell logs a failure once.
func (b *bucket) tell(err error) {
	if text := err.Error(); text != b.said {
		b.said = text
		b.link.log.Warn("presence bucket; trying on", "bucket", b.subjects.Bucket(), "err", err)
	}
}

// wait waits for d or the end of ctx.
func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// ensure makes the bucket, or changes it to what the settings say, and returns its stream.
func (b *bucket) ensure(ctx context.Context, js jetstream.JetStream) (jetstream.KeyValue, *jetstream.StreamInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, askBucket)
	defer cancel()
	storage := jetstream.FileStorage
	if b.cfg.Memory {
		storage = jetstream.MemoryStorage
	}
	kv, err := js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{
		Bucket: b.subjects.Bucket(), Description: "phxgate presence", History: 1, Replicas: b.cfg.Replicas, Storage: storage, LimitMarkerTTL: markerTTL,
		RePublish: &jetstream.RePublish{Source: b.subjects.All(), Destination: b.subjects.Log()},
	})
	if err != nil {
		return nil, nil, fmt.Errorf("make it with PRESENCE_REPLICAS=%d, PRESENCE_STORAGE=%v: %w", b.cfg.Replicas, storage, err)
	}
	info, err := b.info(ctx, js)
	return kv, info, err
}

func (b *bucket) info(ctx context.Context, js jetstream.JetStream) (*jetstream.StreamInfo, error) {
	stream, err := js.Stream(ctx, b.subjects.Stream())
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", b.subjects.Stream(), err)
	}
	return stream.CachedInfo(), nil
}

// load reads all that the bucket holds, at a point of the log that it has then read up to.
func (b *bucket) load(ctx context.Context) error {
	if !b.link.Available() {
		return natsgo.ErrDisconnected
	}
	js, err := jetstream.New(b.link.nc())
	if err != nil {
		return err
	}
	b.drain()
	kv, info, err := b.ensure(ctx, js)
	if err != nil {
		return err
	}
	b.epoch = uint64(info.Created.UnixNano())
	loading, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	held := map[string]presence.Record{}
	if err := b.watch(loading, kv, held); err != nil {
		return err
	}
	// What was written meanwhile may have replaced what was read: the log up to now makes it whole.
	b.applied = info.State.LastSeq
	if info, err = b.info(loading, js); err != nil {
		return err
	}
	end := info.State.LastSeq
	err = b.catchUp(loading, end, func(seq uint64, r *presence.Record) {
		if r == nil {
			return
		}
		key := r.Incarnation + "." + r.Entry
		if old, ok := held[key]; ok && old.Seq >= seq {
			return
		}
		if r.Op == presence.OpPut {
			held[key] = *r
		} else {
			delete(held, key)
		}
	})
	if err != nil {
		return err
	}
	b.inbox.Loaded(b.epoch, slices.Collect(maps.Values(held)), end)
	return nil
}

// drain throws away what the log brought before.
func (b *bucket) drain() {
	for {
		select {
		case <-b.log:
		default:
			return
		}
	}
}

// watch reads the keys' last values. The watch ends with that: what follows a server's death is silence for up to 20 s.
func (b *bucket) watch(ctx context.Context, kv jetstream.KeyValue, held map[string]presence.Record) error {
	w, err := kv.WatchAll(ctx)
	if err != nil {
		return fmt.Errorf("read: %w", err)
	}
	defer w.Stop()
	for {
		select {
		case entry, ok := <-w.Updates():
			switch {
			case !ok:
				return errors.New("read: the watch ended")
			case entry == nil:
				return nil
			case entry.Operation() != jetstream.KeyValuePut:
				continue
			}
			in, id, topic, ok := parseKey(entry.Key())
			if !ok {
				continue
			}
			held[in+"."+id] = presence.Record{Seq: entry.Revision(), Incarnation: in, Entry: id, Topic: topic, Value: entry.Value()}
		case <-ctx.Done():
			return fmt.Errorf("read: %w", ctx.Err())
		}
	}
}

// catchUp takes the log up to a point.
func (b *bucket) catchUp(ctx context.Context, end uint64, take func(uint64, *presence.Record)) error {
	for b.applied < end {
		select {
		case m := <-b.log:
			if err := b.next(ctx, m, take); err != nil {
				return err
			}
		case <-time.After(bucketTries): // its last messages may have been lost
			if err := b.fill(ctx, end+1, take); err != nil {
				return err
			}
			b.applied = max(b.applied, end) // what is gone from the stream by now has no effect
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

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
	info, err := b.info(asking, js)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return err
	case err != nil:
		return nil // no leader, or no connection: nothing changes meanwhile
	case uint64(info.Created.UnixNano()) != b.epoch:
		return errors.New("it was made anew")
	case info.State.LastSeq > b.applied+uint64(len(b.log)):
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
		seq, key, header, data, err := b.nextInStream(ctx, b.applied+1)
		if err != nil {
			return fmt.Errorf("hole in the log behind %d: %w", b.applied, err)
		}
		if seq == 0 || seq >= before {
			return nil
		}
		take(seq, record(seq, key, header, data))
		b.applied = seq
	}
	return nil
}

// nextInStream asks the stream's leader, and no replica that may be behind, for the first message at or after a point; seq 0: there is none.
func (b *bucket) nextInStream(ctx context.Context, from uint64) (seq uint64, key string, header natsgo.Header, data []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, askBucket)
	defer cancel()
	body := fmt.Appendf(nil, `{"seq":%d,"next_by_subj":%q}`, from, b.subjects.All())
	m, err := b.link.nc().RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET."+b.subjects.Stream(), body)
	if err != nil {
		return 0, "", nil, nil, err
	}
	var answer struct {
		Error *struct {
			Code        int    `json:"code"`
			Description string `json:"description"`
		} `json:"error"`
		Message struct {
			Subject string `json:"subject"`
			Seq     uint64 `json:"seq"`
			Header  []byte `json:"hdrs"`
			Data    []byte `json:"data"`
		} `json:"message"`
	}
	if err := json.Unmarshal(m.Data, &answer); err != nil {
		return 0, "", nil, nil, err
	}
	if answer.Error != nil {
		if answer.Error.Code == 404 {
			return 0, "", nil, nil, nil
		}
		return 0, "", nil, nil, errors.New(answer.Error.Description)
	}
	if len(answer.Message.Header) > 0 {
		if header, err = natsgo.DecodeHeadersMsg(answer.Message.Header); err != nil {
			return 0, "", nil, nil, err
		}
	}
	key = answer.Message.Subject[len("$KV.")+len(b.subjects.Bucket())+1:]
	return answer.Message.Seq, key, header, answer.Message.Data, nil
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
