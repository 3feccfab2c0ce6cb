package presence

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// fakeChannel is a joined channel whose client keeps its list as phoenix.js does (assets/js/phoenix/presence.js: constructor, syncState, syncDiff).
type fakeChannel struct {
	topic, socket string
	list          Presences
	synced        bool
	pending       []Diff // until presence_state comes
	states        int    // how many came
	counts        []string
}

// joining is what a channel joins with.
type joining struct {
	socket  string
	counted bool
	key     string // "": it is not tracked
	meta    string
}

// join joins a channel.
func (g *fakeGateway) join(channel, topic string, j joining) {
	g.fleet.set(func() { g.joined[channel] = &fakeChannel{topic: topic, socket: j.socket, list: Presences{}} })
	meta := []byte(j.meta)
	if j.meta == "" {
		meta = []byte("{}")
	}
	g.Join(channel, topic, j.socket, j.counted, j.key != "", j.key, meta, []byte(`{"user":1}`))
}

// leave ends a channel.
func (g *fakeGateway) leave(channel string, lingers bool) {
	g.fleet.set(func() { delete(g.joined, channel) })
	g.Leave(channel, lingers)
}

func (g *fakeGateway) PushPresence(channel, event string, payload []byte) {
	g.fleet.mu.Lock()
	defer g.fleet.mu.Unlock()
	g.said = append(g.said, "push "+channel+" "+event+" "+string(payload))
	ch := g.joined[channel]
	if ch == nil {
		return
	}
	if event == eventCount {
		ch.counts = append(ch.counts, string(payload))
		return
	}
	p, err := ParsePresences(payload)
	if err != nil {
		g.fleet.t.Errorf("%s: %v", event, err)
	}
	ch.list, ch.synced, ch.states = p, true, ch.states+1
	for _, d := range ch.pending {
		ch.apply(&d)
	}
	ch.pending = nil
}

func (g *fakeGateway) BroadcastPresence(topic, event string, payload []byte) {
	g.fleet.mu.Lock()
	defer g.fleet.mu.Unlock()
	g.said = append(g.said, "broadcast "+topic+" "+event+" "+string(payload))
	var d Diff
	if event == eventDiff {
		var err error
		if d, err = parseDiff(topic, Stamp{}, payload); err != nil || d.Empty() {
			g.fleet.t.Errorf("%s was told %s, which says nothing (%v)", topic, payload, err)
		}
	}
	for _, ch := range g.joined {
		switch {
		case ch.topic != topic:
		case event == eventCount:
			ch.counts = append(ch.counts, string(payload))
		case ch.synced:
			ch.apply(&d)
		default:
			ch.pending = append(ch.pending, d)
		}
	}
}

// apply is syncDiff: joins first, then leaves.
func (ch *fakeChannel) apply(d *Diff) {
	for key, metas := range d.Joins {
		for _, m := range metas {
			ch.list.remove(key, m.Ref)
			ch.list.add(key, m)
		}
	}
	for key, metas := range d.Leaves {
		for _, m := range metas {
			ch.list.remove(key, m.Ref)
		}
	}
}

func (g *fakeGateway) FindChannel(channel string, found func(topic, socketID string, assigns []byte, ok bool)) {
	g.fleet.mu.Lock()
	ch := g.joined[channel]
	g.fleet.mu.Unlock()
	time.AfterFunc(time.Millisecond, func() {
		if ch == nil {
			found("", "", nil, false)
		} else {
			found(ch.topic, ch.socket, nil, true)
		}
	})
}

// heard is what was said since it was asked last, without payloads unless they are short: "push <channel> <event>".
func (g *fakeGateway) heard() []string {
	g.fleet.mu.Lock()
	defer g.fleet.mu.Unlock()
	said := g.said
	g.said = nil
	for i, s := range said {
		if !strings.Contains(s, eventCount) {
			said[i] = strings.Join(strings.Fields(s)[:3], " ")
		}
	}
	return said
}

func (g *fakeGateway) wantHeard(want ...string) {
	g.fleet.t.Helper()
	if got := g.heard(); !slices.Equal(got, want) {
		g.fleet.t.Fatalf("%s told its clients\n %q, want\n %q", g.id, got, want)
	}
}

// wantLists fails unless every client that was told who is there holds exactly what the bucket says, refs included.
func (f *fleet) wantLists() {
	f.t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(f.gateways)) {
		g := f.gateways[id]
		for channel, ch := range g.joined {
			var truth Presences
			if t := f.state.Topic(ch.topic); t != nil {
				truth = t.Presences()
			}
			if !ch.synced {
				f.t.Fatalf("%s of %s was never told who is on %s", channel, id, ch.topic)
			}
			if got, want := refsOf(ch.list), refsOf(truth); !slices.Equal(got, want) {
				f.t.Fatalf("%s of %s has on %s\n %q, the bucket says\n %q", channel, id, ch.topic, got, want)
			}
		}
	}
}
