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
	t.entries.away[e.value.Channel] = append(t.entries.away[e.value.Channel], e)
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
	without(t.entries.away, e.value.Channel, e)
	without(t.entries.places, e.place(), e)
}

// without takes an entry out of those under a key.
func without[K comparable](m map[K][]*tracked, key K, e *tracked) {
	left := slices.DeleteFunc(m[key], func(o *tracked) bool { return o == e })
	if len(left) == 0 {
		delete(m, key)
	} else {
		m[key] = left
	}
}

func (e *tracked) place() place { return place{e.topic, e.value.Key, e.value.Socket} }

// giveUp removes what lingers of a channel whose user will not be back.
func (t *Tracker) giveUp(channel string) {
	for _, e := range slices.Clone(t.entries.away[channel]) {
		t.remove(e, nil)
	}
}

// expire removes what lingered long enough.
func (t *Tracker) expire(now time.Time) {
	for channel, entries := range t.entries.away {
		if now.After(entries[0].until) { // all of a channel began at once
			t.giveUp(channel)
		}
	}
}
