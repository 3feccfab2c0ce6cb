package gateway

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// noted is a mail that is known by its number.
type noted int

func (noted) deliver(*loop) {}

func TestMailboxOrderAndWake(t *testing.T) {
	wakes := 0
	m := newMailbox(func() { wakes++ })
	m.post(noted(1))
	m.postBounded(noted(2), 10)
	if wakes != 0 {
		t.Error("a loop that is at work was woken")
	}
	if m.sleep() {
		t.Error("the loop may sleep though there is mail")
	}
	got := m.take(nil)
	if len(got) != 2 || got[0] != noted(1) || got[1] != noted(2) {
		t.Fatalf("got %v", got)
	}
	if rest := m.take(got); len(rest) != 0 {
		t.Errorf("taken twice: %v", rest)
	}
	if !m.sleep() {
		t.Fatal("the loop may not sleep though there is none")
	}
	m.post(noted(3))
	m.post(noted(4))
	if wakes != 1 {
		t.Errorf("%d wakes for one sleep", wakes)
	}
}

// full posts until the mailbox takes no more.
func full(m *mailbox) { m.postBounded(noted(0), mailboxBytes) }

func TestMailboxBoundedWaitsForRoom(t *testing.T) {
	for name, fill := range map[string]func(*mailbox){
		"bytes": full,
		"count": func(m *mailbox) {
			for range mailboxCount {
				m.postBounded(noted(0), 0)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMailbox(func() {})
				fill(m)
				var posted atomic.Bool
				go func() {
					m.postBounded(noted(7), 1)
					posted.Store(true)
				}()
				synctest.Wait()
				if posted.Load() {
					t.Fatal("a full mailbox took more")
				}
				m.post(noted(8)) // what is bounded otherwise never waits
				m.take(nil)
				synctest.Wait()
				if got := m.take(nil); !posted.Load() || len(got) != 1 || got[0] != noted(7) {
					t.Errorf("after the loop took: posted %v, got %v", posted.Load(), got)
				}
				if m.bytes != 0 {
					t.Errorf("%d bytes are counted in an empty mailbox", m.bytes)
				}
			})
		})
	}
}

func TestMailboxStopReleases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMailbox(func() {})
		full(m)
		var released atomic.Int32
		for range 3 {
			go func() {
				m.postBounded(noted(1), 1)
				released.Add(1)
			}()
		}
		synctest.Wait()
		if n := released.Load(); n != 0 {
			t.Fatalf("%d posters did not wait", n)
		}
		m.stop()
		synctest.Wait()
		if n := released.Load(); n != 3 {
			t.Errorf("%d of 3 posters were let go", n)
		}
		m.post(noted(2))
		if got := m.take(nil); len(got) != 0 {
			t.Errorf("a stopped mailbox holds %v", got)
		}
	})
}
