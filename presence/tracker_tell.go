package presence

import "time"

// countPause is the least time between two counts that a topic's members are told.
const countPause = time.Second

// fit reports whether the view is such that a member can be told: known, not in doubt, and with the member's own entry in it.
func (w *watched) fit(m *member) bool {
	return w.view.Known() && !w.checking && m.stored && w.view.Rev() >= m.after
}

// serve tells members what they are owed, as far as the view allows.
func (t *Tracker) serve(w *watched) {
	if w == nil {
		return
	}
	if len(w.owed) == 0 {
		delete(t.checks.waits, w)
		return
	}
	var still []*member
	for _, m := range w.owed {
		switch {
		case !m.owed: // it is gone
		case !w.fit(m):
			still = append(still, m)
		case m.counted:
			m.owed = false
			t.clients.PushPresence(m.channel, eventCount, countPayload(w.view.Len()))
		default:
			m.owed = false
			if w.state == nil {
				w.state = w.view.Presences().AppendJSON(nil)
			}
			t.clients.PushPresence(m.channel, eventState, w.state)
		}
	}
	w.owed = still
	if len(still) > 0 {
		t.checks.waits[w] = struct{}{}
	} else {
		delete(t.checks.waits, w)
	}
}

// countSoon has members that want it told how many there are, at most once in countPause.
func (t *Tracker) countSoon(w *watched) {
	if w.counted > 0 && !w.countDue {
		w.countDue = true
		t.checks.counts[w] = struct{}{}
	}
}

func (t *Tracker) tellCounts(now time.Time) {
	for w := range t.checks.counts {
		if now.Sub(w.countAt) < countPause {
			continue
		}
		delete(t.checks.counts, w)
		w.countDue, w.countAt = false, now
		if n := w.view.Len(); n != w.countSaid && len(w.members) > 0 {
			w.countSaid = n
			t.clients.BroadcastPresence(w.topic, eventCount, countPayload(n))
		}
	}
}
