package nats

import (
	"errors"
	"sync"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"github.com/phxgate/phxgate/internal/planted"
)

// gapPause is the least time between two gaps that are told: an inbox that overflows does so thousands of times a second, and each gap concerns every channel.
const gapPause = time.Second

// gaps are what the inbox must be told of messages that it may have missed. They gather while it is not told.
type gaps struct {
	some chan struct{} // there is something to tell; never closed

	mu      sync.Mutex // guards what follows
	all     bool
	topics  []string
	refused []string
}

func (g *gaps) init() { g.some = make(chan struct{}, 1) }

// add notes a gap of all topics, or of some, and topics that are refused.
func (g *gaps) add(all bool, topics, refused []string) {
	g.mu.Lock()
	g.all = g.all || all
	g.topics, g.refused = append(g.topics, topics...), append(g.refused, refused...)
	g.mu.Unlock()
	signal(g.some)
}

// take returns what there is to tell.
func (g *gaps) take() (all bool, topics, refused []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	all, topics, refused = g.all, g.topics, g.refused
	g.all, g.topics, g.refused = false, nil, nil
	return all, topics, refused
}

// gapOfAll has it told that messages of any topic may have been missed.
func (b *Bus) gapOfAll() { b.gaps.add(true, nil, nil) }

// failed handles nats.go's asynchronous errors. Messages that its chan had no room for are a gap.
func (b *Bus) failed(err error) {
	if errors.Is(err, natsgo.ErrSlowConsumer) {
		b.log.Warn("inbox overflowed: messages from NATS were missed", "capacity", chanCount)
		b.overflowed()
		return
	}
	b.log.Warn("NATS", "err", err)
}

// overflowed handles the loss of messages of whatever topics.
func (b *Bus) overflowed() {
	if !planted.IgnoreOverflow {
		b.gapOfAll()
	}
}

// tellGaps is the goroutine that tells the inbox, with a pause after each time: the last of many gaps is told after it happened.
func (b *Bus) tellGaps() {
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		select {
		case <-pause.C:
		case <-b.quit:
			return
		}
		select {
		case <-b.gaps.some:
			b.tell(b.gaps.take())
			pause.Reset(gapPause)
		case <-b.quit:
			return
		}
	}
}

func (b *Bus) tell(all bool, topics, refused []string) {
	if len(refused) > 0 {
		b.inbox.Refused(refused)
	}
	if all {
		topics = nil
	} else if len(topics) == 0 {
		return
	}
	b.stats.Gaps.Add(1)
	b.inbox.Gap(topics)
	if b.presence != nil {
		b.presence.Gap()
	}
}
