package nemesis

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gobwas/ws"

	"github.com/phxgate/phxgate/internal/phxtest"
)

const (
	personCount  = 300
	roomCount    = 12
	roomsEach    = 2
	actsEvery    = 200 * time.Millisecond // of one person
	flitFraction = 4                      // one act in so many is to come and go at once
)

// people is everybody, and what they do while it is active.
type people struct {
	all     []*person
	addrs   []string
	active  atomic.Bool
	status  atomic.Int64 // that everybody must have in the end; 0: as they please
	stop    context.CancelFunc
	running sync.WaitGroup

	mu    sync.Mutex // guards notes
	notes []string
}

// person is one socket of a user; two people are the same user. It joins rooms, leaves them, changes its status and comes back as phoenix.js does.
type person struct {
	people *people
	number int
	user   string
	token  string
	rng    *rand.Rand // owned by run

	mu      sync.Mutex // guards what follows
	wire    *wire
	lastRef int
	seats   map[int]*seat // by room
	acts    time.Time
}

// seat is a room that a person wants to be in.
type seat struct {
	room    int
	state   channelState
	joinRef string
	due     time.Time
	tries   int
	roster  phxtest.Roster
	status  int64  // that the gateway has accepted
	asked   string // ref of the update that is under way
	askedAt time.Time
	asks    int64 // the status it asks for
}

func newPeople(addrs []string, seed uint64) *people {
	ctx, stop := context.WithCancel(context.Background())
	p := &people{addrs: addrs, stop: stop}
	for i := range personCount {
		user := fmt.Sprintf("u%d", i/2)
		one := &person{people: p, number: i, user: user, token: tokenOf(user), rng: rand.New(rand.NewPCG(seed, uint64(i))), seats: map[int]*seat{}}
		for len(one.seats) < roomsEach {
			room := one.rng.IntN(roomCount)
			one.seats[room] = &seat{room: room}
		}
		p.all = append(p.all, one)
	}
	for _, one := range p.all {
		p.running.Go(func() { one.run(ctx) })
	}
	return p
}

func (p *people) end() {
	p.stop()
	p.running.Wait()
}

func (p *people) note(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.notes) < findingsShown {
		p.notes = append(p.notes, time.Now().Format("15:04:05.000 ")+fmt.Sprintf(format, args...))
	}
}

func (p *people) takeNotes() (notes []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	notes, p.notes = p.notes, nil
	return notes
}

func (p *person) run(ctx context.Context) {
	tries := 0
	for ctx.Err() == nil {
		at := (p.number + tries) % len(p.people.addrs)
		w, err := dialAs(ctx, p.people.addrs[at], p.token)
		if err != nil {
			pause(ctx, reconnectAfter[min(tries, len(reconnectAfter)-1)])
			tries++
			continue
		}
		tries = 0
		closed := make(chan struct{})
		var reading sync.WaitGroup
		p.opened(w)
		reading.Go(func() {
			defer close(closed)
			p.read(w)
		})
		if p.drive(ctx, closed) {
			w.close()
		} else {
			w.conn.Close()
			tries = 1
		}
		reading.Wait()
		p.lost()
	}
}

// dialAs opens a socket with a token.
func dialAs(ctx context.Context, addr, token string) (*wire, error) {
	dialer := ws.Dialer{Timeout: dialTimeout}
	conn, in, _, err := dialer.Dial(ctx, "ws://"+addr+"/socket/websocket?vsn=2.0.0&token="+token)
	if err != nil {
		return nil, err
	}
	if in == nil {
		in = bufio.NewReader(conn)
	}
	return &wire{conn: conn, in: in}, nil
}

func (p *person) opened(w *wire) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wire = w
	p.acts = time.Now().Add(time.Duration(p.rng.Int64N(int64(actsEvery))))
	for _, s := range p.seats {
		s.tries = 0
		p.join(s)
	}
}

func (p *person) lost() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wire = nil
	for room, s := range p.seats {
		if s.state == leaving {
			delete(p.seats, room)
		}
		s.state = errored
	}
}

// drive does what is due until the socket is over (false) or the person closes it (true).
func (p *person) drive(ctx context.Context, closed <-chan struct{}) (byItself bool) {
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return true
		case <-closed:
			return false
		case now := <-tick.C:
			if p.tick(now) {
				return true
			}
		}
	}
}

func (p *person) tick(now time.Time) (bye bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	final := p.people.status.Load()
	for _, s := range p.seats {
		switch {
		case s.state == errored && now.After(s.due):
			p.join(s)
		case s.state == joining && now.After(s.due):
			p.people.note("person %d, room %d: no answer to a join for %v", p.number, s.room, joinTimeout)
			s.fail()
		case s.state == joined && final != 0 && s.status != final && (s.asked == "" || now.Sub(s.askedAt) > time.Second):
			p.say(s, final)
		}
	}
	if !p.people.active.Load() || now.Before(p.acts) {
		return false
	}
	p.acts = now.Add(actsEvery/2 + time.Duration(p.rng.Int64N(int64(actsEvery))))
	switch what := p.rng.IntN(12); {
	case what < flitFraction: // comes and goes within a diff
		room := p.rng.IntN(roomCount)
		if p.seats[room] == nil {
			ref := p.ref()
			p.send(ref, ref, room, "phx_join", struct{}{})
			p.send(ref, p.ref(), room, "phx_leave", struct{}{})
		}
	case what < 8:
		for _, s := range p.seats {
			if s.state == joined {
				p.say(s, now.UnixNano())
				break
			}
		}
	case what < 11:
		p.move()
	default:
		return true
	}
	return false
}

// move leaves a room and joins another.
func (p *person) move() {
	for _, s := range p.seats {
		if s.state == joined {
			s.state = leaving
			p.send(s.joinRef, p.ref(), s.room, "phx_leave", struct{}{})
			break
		}
	}
	room := p.rng.IntN(roomCount)
	if p.seats[room] == nil && len(p.seats) <= roomsEach {
		s := &seat{room: room}
		p.seats[room] = s
		p.join(s)
	}
}

// say changes the status in one room.
func (p *person) say(s *seat, status int64) {
	s.asked, s.askedAt, s.asks = p.ref(), time.Now(), status
	p.send(s.joinRef, s.asked, s.room, "status", map[string]string{"status": strconv.FormatInt(status, 10)})
}

func (p *person) join(s *seat) {
	s.state, s.joinRef, s.due = joining, p.ref(), time.Now().Add(joinTimeout)
	s.status, s.asked = 0, ""
	s.roster = phxtest.Roster{}
	p.send(s.joinRef, s.joinRef, s.room, "phx_join", struct{}{})
}

func (s *seat) fail() {
	s.state = errored
	s.due = time.Now().Add(rejoinAfter[min(s.tries, len(rejoinAfter)-1)])
	s.tries++
}

func (p *person) ref() string {
	p.lastRef++
	return strconv.Itoa(p.lastRef)
}

func (p *person) send(joinRef, ref string, room int, event string, payload any) {
	if err := p.wire.send(joinRef, ref, room, event, payload); err != nil {
		p.wire.conn.Close()
	}
}

func (p *person) read(w *wire) {
	for {
		text, err := w.receive()
		if err != nil {
			return
		}
		f, err := parseFrame(text)
		if err == nil {
			err = p.handle(&f)
		}
		if err != nil {
			p.people.note("person %d: %v", p.number, err)
		}
	}
}

func (p *person) handle(f *frame) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.seats[f.topic]
	if s == nil {
		return nil // of a room that it came to and went from
	}
	switch f.event {
	case "phx_reply":
		status, _, err := f.replied()
		if err != nil {
			return err
		}
		switch {
		case f.joinRef != s.joinRef:
		case s.state == joining && f.ref == s.joinRef && status == "ok":
			s.state, s.tries = joined, 0
		case s.state == joining && f.ref == s.joinRef:
			s.fail()
		case s.state == leaving:
			delete(p.seats, s.room)
		case f.ref == s.asked:
			if s.asked = ""; status == "ok" {
				s.status = s.asks
			}
		}
	case "phx_error":
		if s.state == joined && f.joinRef == s.joinRef {
			s.fail()
		}
	case "presence_state":
		if f.joinRef == s.joinRef && s.state == joined {
			return s.roster.Take(f.event, f.payload)
		}
	case "presence_diff":
		if s.state == joined {
			return s.roster.Take(f.event, f.payload)
		}
	}
	return nil
}
