package presence

import (
	"slices"
	"time"
)

// place is what a user comes back to.
type place struct{ topic, key, socket string }

// linger keeps an entry whose user may be back. While the gateway drains, its registration says so for all.
func (t *Tracker) linger(e *tracked) {
	e.member = nil
	e.until = time.Now().Add(t.cfg.Linger)
	e.value.Lingers = true
	t.entries.away[e] = struct{}{}
	if e.value.Socket != "" { // nobody can be known to be an anonymous socket's user
		t.entries.places[e.place()] = append(t.entries.places[e.place()], e)
	}
	if !t.life.draining {
		t.changed(e, nil)
	}
}

// back ends an entry's linger.
func (t *Tracker) back(e *tracked) {
	e.value.Lingers = false
	delete(t.entries.away, e)
	left := slices.DeleteFunc(t.entries.places[e.place()], func(o *tracked) bool { return o == e })
	if len(left) == 0 {
		delete(t.entries.places, e.place())
	} else {
		t.entries.places[e.place()] = left
	}
}

func (e *tracked) place() place { return place{e.topic, e.value.Key, e.value.Socket} }

// expire removes what lingered long enough.
func (t *Tracker) expire(now time.Time) {
	for e := range t.entries.away {
		if now.After(e.until) {
			t.remove(e, nil)
		}
	}
}
