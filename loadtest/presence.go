//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"
)

const aboutPresence = `Opens --clients sockets that join --rooms topics in turn, each tracked under a key of its own, and waits until every client's list, kept as
phoenix.js keeps it, holds everybody in its room. Then --leave of the sockets are closed at once, and it waits until the lists of the rest hold nobody else. Reports how long
both took after the last join and the first close, and the bytes that a client received. It fails where a list is not right within --limit.

The server must track a channel that joins with --params: with the gateway, a rule such as
  {topic: "room:*", join: allow, presence: {key: params.user}}`

// presenceResult is the presence scenario's part of a result.
type presenceResult struct {
	Rooms          int     `json:"rooms"`
	Members        int     `json:"members_per_room"`
	ArriveSeconds  float64 `json:"arrive_seconds"` // from the last join reply until every list is whole
	LeaveSeconds   float64 `json:"leave_seconds"`  // from the first close until every list is right again
	Left           int     `json:"left"`
	Wrong          int     `json:"wrong_lists"` // that were not right at the limit
	BytesPerClient float64 `json:"bytes_per_client"`
	Updates        int64   `json:"states_and_diffs"`
}

func (r *presenceResult) lines() []string {
	return []string{
		fmt.Sprintf("%d rooms of %d: every list whole %.2f s after the last join; right again %.2f s after %d left", r.Rooms, r.Members, r.ArriveSeconds, r.LeaveSeconds, r.Left),
		fmt.Sprintf("%.0f bytes and %.1f states and diffs a client; %d lists wrong", r.BytesPerClient, float64(r.Updates)/float64(r.Rooms*r.Members), r.Wrong),
	}
}

// presenceBytes is the longest message that is read whole.
const presenceBytes = 4 << 20

// presenceLoop is the handler of a loop whose clients keep lists.
type presenceLoop struct {
	loop  *loop
	run   *presenceRun
	lists []list // by the client's index
	// departed is how many of all had left when the loop looked last.
	departed int32
}

// presenceRun is what all loops share.
type presenceRun struct {
	rooms     []room
	departing atomic.Int32 // clients with a lower number leave
	right     atomic.Int64 // lists that hold as many as their room has now
	received  atomic.Int64 // bytes of states and diffs
	updates   atomic.Int64

	seed   maphash.Seed
	mu     sync.Mutex             // guards what follows, and the rooms' refs
	parsed map[uint64]*parsedDiff // by hash: one payload comes to every member
}

// room is one topic.
type room struct {
	members atomic.Int32 // that should be there now
	refs    map[string]uint32
}

// parsedDiff is a state or diff with refs as numbers of their room.
type parsedDiff struct {
	state         bool
	joins, leaves []uint32
}

// list is what one client has been told: the refs that it holds, as a set of bits.
type list struct {
	bits    []uint64
	n       int32
	synced  bool
	pending []*parsedDiff
	right   bool
}

func (l *list) set(ref uint32, in bool) {
	word, bit := int(ref/64), uint64(1)<<(ref%64)
	for len(l.bits) <= word {
		l.bits = append(l.bits, 0)
	}
	if has := l.bits[word]&bit != 0; has == in {
		return
	}
	l.bits[word] ^= bit
	if in {
		l.n++
	} else {
		l.n--
	}
}

// take applies a state or diff as presence.js does.
func (l *list) take(d *parsedDiff) {
	switch {
	case d.state:
		clear(l.bits)
		l.n, l.synced = 0, true
		for _, ref := range d.joins {
			l.set(ref, true)
		}
		for _, p := range l.pending {
			l.apply(p)
		}
		l.pending = nil
	case !l.synced:
		l.pending = append(l.pending, d)
	default:
		l.apply(d)
	}
}

func (l *list) apply(d *parsedDiff) {
	for _, ref := range d.joins {
		l.set(ref, true)
	}
	for _, ref := range d.leaves {
		l.set(ref, false)
	}
}

var _ handler = (*presenceLoop)(nil)

func (h *presenceLoop) wholeBytes() int { return presenceBytes }

func (h *presenceLoop) cutOff(*client, string) {}

func (h *presenceLoop) message(c *client, text []byte) {
	m, ok := h.loop.control(c, text)
	if !ok {
		return
	}
	event := string(m.event)
	if event != `"presence_state"` && event != `"presence_diff"` {
		return
	}
	h.run.received.Add(int64(len(text)))
	h.run.updates.Add(1)
	number := int(c.number) % len(h.run.rooms)
	d, err := h.run.parse(number, event == `"presence_state"`, m.payload)
	if err != nil {
		h.loop.end(c, "presence: "+err.Error())
		return
	}
	l := &h.lists[c.index]
	l.take(d)
	h.run.look(l, &h.run.rooms[number])
}

// look counts a list as right or not.
func (r *presenceRun) look(l *list, room *room) {
	if right := l.synced && l.n == room.members.Load(); right != l.right {
		l.right = right
		if right {
			r.right.Add(1)
		} else {
			r.right.Add(-1)
		}
	}
}

// parse reads a payload, or finds it among those read before.
func (r *presenceRun) parse(number int, state bool, payload []byte) (*parsedDiff, error) {
	var h maphash.Hash
	h.SetSeed(r.seed)
	h.Write(payload)
	h.WriteByte(byte(number))
	h.WriteByte(byte(number >> 8))
	h.WriteByte(byte(number >> 16))
	key := h.Sum64()
	r.mu.Lock()
	defer r.mu.Unlock()
	if d := r.parsed[key]; d != nil {
		return d, nil
	}
	d := &parsedDiff{state: state}
	refs := r.rooms[number].refs
	if refs == nil {
		refs = map[string]uint32{}
		r.rooms[number].refs = refs
	}
	if state {
		d.joins = appendRefs(d.joins, refs, payload)
	} else {
		joins, leaves := field(payload, "joins"), field(payload, "leaves")
		if joins == nil || leaves == nil {
			return nil, errors.New("a diff without joins and leaves")
		}
		d.joins, d.leaves = appendRefs(nil, refs, joins), appendRefs(nil, refs, leaves)
	}
	if len(r.parsed) > 10_000 {
		clear(r.parsed)
	}
	r.parsed[key] = d
	return d, nil
}

// appendRefs finds every phx_ref in presences. Refs are opaque, and hold no escapes.
func appendRefs(dst []uint32, refs map[string]uint32, text []byte) []uint32 {
	const mark = `"phx_ref":"`
	for {
		i := bytes.Index(text, []byte(mark))
		if i < 0 {
			return dst
		}
		text = text[i+len(mark):]
		end := bytes.IndexByte(text, '"')
		if end < 0 {
			return dst
		}
		n, ok := refs[string(text[:end])]
		if !ok {
			n = uint32(len(refs))
			refs[string(text[:end])] = n
		}
		dst, text = append(dst, n), text[end:]
	}
}

func runPresence(ctx context.Context, args []string, out output) (exit int, err error) {
	c := config{clients: 1000, topic: "room:%d", params: `{"user":"u%d"}`, rooms: 1}
	fs := flag.NewFlagSet("presence", flag.ContinueOnError)
	c.register(fs)
	fs.IntVar(&c.rooms, "rooms", c.rooms, "topics that the clients join in turn")
	limit := fs.Duration("limit", 5*time.Second, "until every list must be right")
	leave := fs.Float64("leave", 0.5, "share of the sockets that is closed at the end")
	if err := parseFlags(fs, args, aboutPresence, out.stdout); err != nil {
		return 0, err
	}
	if err := c.validate(); err != nil {
		return 0, err
	}
	switch {
	case c.rooms < 1 || c.rooms > c.clients:
		return 0, usagef("--rooms %d: 1 to the number of clients", c.rooms)
	case *limit <= 0:
		return 0, usagef("--limit %v: above 0", *limit)
	case *leave < 0 || *leave >= 1:
		return 0, usagef("--leave %g: from 0 to below 1", *leave)
	}
	r, err := presenceScenario(ctx, &c, *limit, *leave, out)
	if err != nil {
		return 0, err
	}
	return r.report(out, c.jsonFile)
}

// presenceScenario runs the scenario.
func presenceScenario(ctx context.Context, c *config, limit time.Duration, leave float64, out output) (*result, error) {
	before, err := readUsages(c.pids)
	if err != nil {
		return nil, err
	}
	ownBefore, machineBefore := ownUsage(), machineCPU()
	run := &presenceRun{rooms: make([]room, c.rooms), seed: maphash.MakeSeed(), parsed: map[uint64]*parsedDiff{}}
	for n := range c.clients {
		run.rooms[n%c.rooms].members.Add(1)
	}
	f, err := newFleet(c, c.clients, newClock(), make(chan error, 1), func(l *loop) handler {
		return &presenceLoop{loop: l, run: run, lists: make([]list, len(l.clients))}
	})
	if err != nil {
		return nil, err
	}
	defer f.stop()
	defer out.progress(func(float64) string {
		return fmt.Sprintf("%d joined of %d, %d lists right, %d errors", f.joined.Load(), c.clients, run.right.Load(), f.failed.Load())
	})()

	p := &presenceResult{Rooms: c.rooms, Members: (c.clients + c.rooms - 1) / c.rooms, Left: int(leave * float64(c.clients))}
	r := &result{Scenario: "presence", URL: c.url, Clients: c.clients, Presence: p}
	start, busyBefore := f.clock.now(), f.busy()
	err = f.connect(ctx)
	r.ConnectSeconds = float64(f.clock.now()-start) / 1e9
	if err == nil {
		p.ArriveSeconds, err = run.wait(ctx, f, int64(c.clients), limit)
		p.Wrong = c.clients - int(run.right.Load())
	}
	arrived := run.received.Load()
	if err == nil && p.Wrong == 0 && p.Left > 0 {
		p.LeaveSeconds, err = run.depart(ctx, f, c.clients, p.Left, limit)
		p.Wrong = c.clients - p.Left - int(run.right.Load())
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		return nil, err
	}
	r.Interrupted = err != nil
	p.BytesPerClient, p.Updates = float64(arrived)/float64(c.clients), run.updates.Load()
	r.Generator.setBusy(busyBefore, f.busy(), float64(f.clock.now()-start)/1e9)
	r.Generator.CPUSeconds, r.MachineCPUSeconds = ownUsage().cpu-ownBefore.cpu, machineCPU()-machineBefore
	after, err := readUsages(c.pids)
	if err != nil {
		return nil, err
	}
	r.Servers = costs(c.pids, before, after)
	f.stop()
	r.fill(f)
	r.OK = !r.Interrupted && r.ErrorsTotal == 0 && r.Joined == int64(c.clients) && p.Wrong == 0
	return r, nil
}

// wait waits until so many lists are right, or the limit is over.
func (r *presenceRun) wait(ctx context.Context, f *fleet, want int64, limit time.Duration) (seconds float64, err error) {
	from := f.clock.now()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for r.right.Load() != want && f.clock.now()-from < int64(limit) {
		if err := f.waitFor(ctx, afterDuration(time.Millisecond)); err != nil {
			return 0, err
		}
	}
	return float64(f.clock.now()-from) / 1e9, nil
}

// depart has the loops close the first n sockets, and waits until the lists of the rest are right.
func (r *presenceRun) depart(ctx context.Context, f *fleet, clients, n int, limit time.Duration) (seconds float64, err error) {
	for number := range n {
		r.rooms[number%len(r.rooms)].members.Add(-1)
	}
	r.departing.Store(int32(n))
	for _, l := range f.loops {
		l.poll.wakeUp()
	}
	return r.wait(ctx, f, int64(clients-n), limit)
}

// turn closes the loop's share of those who leave, once.
func (h *presenceLoop) turn(int64) (next int64) {
	n := h.run.departing.Load()
	if n == h.departed {
		return never
	}
	h.departed = n
	for i := range h.lists {
		c, l := &h.loop.clients[i], &h.lists[i]
		if c.number >= n {
			h.run.look(l, &h.run.rooms[int(c.number)%len(h.run.rooms)])
			continue
		}
		if l.right {
			l.right = false
			h.run.right.Add(-1)
		}
		if c.state == joined {
			h.loop.close(c)
			c.state = ended
		}
	}
	return never
}
