package presence

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// network is replicas of the service and views of gateways with everything in between that can go wrong: replicas lag, both or neither think themselves owner, messages are
// late, doubled, or lost with the connection that they were on.
type network struct {
	t        *testing.T
	w        *world
	log      []Record
	truth    []truthAt // of the one topic that is looked at, in the order of the log
	replicas []*netReplica
	views    []*netView
}

type truthAt struct {
	seq  uint64
	refs []string
}

type netReplica struct {
	state *State
	next  int // in the log
	owner bool
}

type netView struct {
	view     View
	queues   [][]netMessage // by replica, in order
	checking bool
	dropped  uint64 // the highest point of diffs that came during a check
	last     *Diff  // what may come once more
}

type netMessage struct {
	diff  *Diff
	state *netState
}

type netState struct {
	rev, hash uint64
	same      bool
	presences Presences
}

const lookedAt = "room:1"

func newNetwork(t *testing.T, r *rand.Rand) *network {
	n := &network{t: t, w: newWorld(r)}
	for range 2 {
		n.replicas = append(n.replicas, &netReplica{state: NewState(1)})
	}
	for range 3 {
		n.views = append(n.views, &netView{queues: make([][]netMessage, 2)})
	}
	return n
}

func (n *network) send(replica int, m netMessage) {
	for _, v := range n.views {
		v.queues[replica] = append(v.queues[replica], m)
	}
}

func (n *network) flush(i int) {
	topic := n.replicas[i].state.Topic(lookedAt)
	if topic == nil {
		return
	}
	if !n.replicas[i].owner {
		topic.Settle()
		return
	}
	if d, ok := topic.Flush(); ok {
		n.send(i, netMessage{diff: &d})
	}
}

// check asks every replica that thinks itself owner.
func (n *network) check(v *netView) {
	v.checking = true
	for i, rep := range n.replicas {
		if !rep.owner {
			continue
		}
		n.flush(i)
		s := &netState{rev: rep.state.Applied()}
		if topic := rep.state.Topic(lookedAt); topic != nil {
			s.hash, s.presences = topic.Hash(), topic.Presences()
		}
		s.same = v.view.Known() && v.view.hash == s.hash
		v.queues[i] = append(v.queues[i], netMessage{state: s})
	}
}

func (n *network) receive(v *netView, m netMessage) {
	switch {
	case m.diff != nil && v.checking:
		v.dropped = max(v.dropped, m.diff.Rev)
	case m.diff != nil:
		switch v.view.Fits(m.diff.Stamp) {
		case FitExact:
			v.view.Apply(m.diff)
			v.last = m.diff
		case FitGap:
			n.check(v)
		}
	default:
		s := m.state
		if s.rev < v.view.rev || s.rev < v.dropped {
			if v.checking {
				n.check(v)
			}
			return
		}
		if s.same && !v.view.Confirm(1, s.rev, s.hash) {
			n.check(v)
			return
		}
		v.checking, v.dropped = false, 0
		if s.same {
			return
		}
		before := slices.Clone(refsOf(v.view.presences))
		d := v.view.Replace(lookedAt, 1, s.rev, s.presences)
		n.wantFold(before, &d, refsOf(s.presences))
	}
}

// wantFold checks the difference that clients are told.
func (n *network) wantFold(before []string, d *Diff, after []string) {
	n.t.Helper()
	got := append(before, refsOf(d.Joins)...)
	for _, ref := range refsOf(d.Leaves) {
		i := slices.Index(got, ref)
		if i < 0 {
			n.t.Fatalf("%s leaves and was not there", ref)
		}
		got = slices.Delete(got, i, i+1)
	}
	slices.Sort(got)
	if !slices.Equal(got, after) {
		n.t.Fatalf("the difference gives %v, not %v", got, after)
	}
}

// wantTrue checks a view against what was true at the point that it stands for.
func (n *network) wantTrue(v *netView) {
	n.t.Helper()
	if !v.view.Known() {
		return
	}
	var want []string
	for _, at := range n.truth {
		if at.seq <= v.view.rev {
			want = at.refs
		}
	}
	if got := refsOf(v.view.presences); !slices.Equal(got, want) {
		n.t.Fatalf("view at %d has %v, true was %v", v.view.rev, got, want)
	}
}

func (n *network) step() {
	r := n.w.r
	i := r.IntN(len(n.replicas))
	rep := n.replicas[i]
	v := n.views[r.IntN(len(n.views))]
	switch p := r.IntN(100); {
	case p < 25:
		n.log = append(n.log, n.w.next())
	case p < 55 && rep.next < len(n.log):
		if _, err := rep.state.Apply(&n.log[rep.next]); err != nil {
			n.t.Fatal(err)
		}
		rep.next++
		if !rep.owner || r.IntN(3) == 0 {
			n.flush(i)
		}
	case p < 60:
		if rep.owner {
			n.flush(i)
			rep.owner = false
			return
		}
		n.flush(i)
		rep.owner = true
		for _, v := range n.views { // Sync
			n.check(v)
		}
	case p < 63: // a connection is lost with all that was on it
		clear(v.queues[i])
		v.queues[i] = nil
		n.check(v)
	case p < 66 && v.last != nil:
		n.receive(v, netMessage{diff: v.last})
	case p < 68: // a check that was not answered
		n.check(v)
	case len(v.queues[i]) > 0:
		m := v.queues[i][0]
		v.queues[i] = v.queues[i][1:]
		n.receive(v, m)
	}
	n.wantTrue(v)
}

// TestViewsAreTrueAtTheirPoint: at every moment each view is what was true at one point of the log, and in the end all are what is true.
func TestViewsAreTrueAtTheirPoint(t *testing.T) {
	seeds(t, 60, func(t *testing.T, r *rand.Rand) {
		n := newNetwork(t, r)
		truth := NewState(1)
		for range 1500 {
			n.step()
			for _, rec := range n.log[len(n.truth):] {
				if _, err := truth.Apply(&rec); err != nil {
					t.Fatal(err)
				}
				n.truth = append(n.truth, truthAt{rec.Seq, refsOf(presencesOf(truth, lookedAt))})
			}
		}
		for i, rep := range n.replicas { // calm
			rep.owner = i == 0
			for ; rep.next < len(n.log); rep.next++ {
				if _, err := rep.state.Apply(&n.log[rep.next]); err != nil {
					t.Fatal(err)
				}
			}
			n.flush(i)
		}
		for _, v := range n.views {
			n.check(v)
			for v.checking || len(v.queues[0])+len(v.queues[1]) > 0 {
				for i := range v.queues {
					if len(v.queues[i]) > 0 {
						m := v.queues[i][0]
						v.queues[i] = v.queues[i][1:]
						n.receive(v, m)
						n.wantTrue(v)
					}
				}
			}
			if got, want := refsOf(v.view.presences), refsOf(presencesOf(truth, lookedAt)); !slices.Equal(got, want) {
				t.Fatalf("in the end: view %v, true %v", got, want)
			}
		}
	})
}
