package nats

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
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
	markerTTL   = 10 * time.Minute      // of what says that a key is gone
	linkTries   = 50 * time.Millisecond // between looks whether there is a connection
	bucketTries = time.Second           // between attempts to reach or make the bucket
	askBucket   = 5 * time.Second       // for one request; a stream without a leader answers when it has one
	lookEvery   = 2 * time.Second       // whether the stream is still the same
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

	failure atomic.Pointer[error] // why it is not loaded now; nil: it is, or nothing has failed yet
	filled  atomic.Int64          // holes in the log that were filled from the stream
}

// follow is a goroutine's work until ctx ends.
func (b *bucket) follow(ctx context.Context) {
	for ctx.Err() == nil {
		if !b.link.Available() {
			wait(ctx, linkTries) // the link says why
			continue
		}
		err := b.load(ctx)
		if err == nil {
			b.said = ""
			b.failure.Store(nil)
			err = b.hand(ctx)
			b.inbox.Unloaded()
		}
		if err != nil && ctx.Err() == nil {
			b.failure.Store(&err)
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

// ensure makes the bucket, or changes it to what the settings say, and marks it. It returns its stream as it is then.
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
	if b.epoch, err = b.mark(ctx, js); err != nil {
		return nil, nil, fmt.Errorf("mark it: %w", err)
	}
	info, err := b.info(ctx, js)
	return kv, info, err
}

// mark returns the epoch: the time of a message that is put into an empty bucket first. The stream's own age will not do: one replica whose server comes back without its store
// is as old as before, and empty.
func (b *bucket) mark(ctx context.Context, js jetstream.JetStream) (epoch uint64, err error) {
	for {
		m, err := b.last(ctx, b.subjects.Epoch())
		if err != nil || m.seq > 0 {
			return uint64(m.time.UnixNano()), err
		}
		_, err = js.Publish(ctx, b.subjects.Epoch(), nil, jetstream.WithExpectLastSequencePerSubject(0))
		var refused *jetstream.APIError
		if err != nil && (!errors.As(err, &refused) || refused.ErrorCode != jetstream.JSErrCodeStreamWrongLastSequence) { // else another replica was first
			return 0, err
		}
	}
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
	js, err := jetstream.New(b.link.nc())
	if err != nil {
		return err
	}
	b.drain()
	kv, info, err := b.ensure(ctx, js)
	if err != nil {
		return err
	}
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
