package hostile

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/phxgate/phxgate/internal/phxtest"
)

// watchInnocents lets two well-behaved clients talk until stop is called, and once more after: each heartbeat and each broadcast from one to the other takes at
// most a second. They are a test of their own, beside the attack; stop returns when it has ended, and may be called again.
func (a *arena) watchInnocents() (stop func()) {
	over, ready := make(chan struct{}), make(chan struct{}) // closed when the attack is over, and when the clients have joined
	var work sync.WaitGroup
	work.Go(func() {
		a.Run("innocents", func(t *testing.T) {
			arrived := sync.OnceFunc(func() { close(ready) })
			defer arrived() // whatever happens, the attack does not wait for ever
			one := phxtest.Dial(t, a.cluster.URL(0, "vsn=2.0.0"), phxtest.Name("one"))
			two := phxtest.Dial(t, a.cluster.URL(0, "vsn=2.0.0"), phxtest.Name("two"))
			one.Join("innocent", struct{}{})
			two.Join("innocent", struct{}{})
			arrived()
			pause := time.NewTicker(50 * time.Millisecond)
			defer pause.Stop()
			for n, last := 0, false; !last; n++ {
				select {
				case <-over:
					last = true
				case <-pause.C:
				}
				innocentRound(t, one, two, n)
			}
		})
	})
	<-ready
	return sync.OnceFunc(func() {
		close(over)
		work.Wait()
	})
}

func innocentRound(t *testing.T, one, two *phxtest.Client, n int) {
	t.Helper()
	began := time.Now()
	one.Heartbeat()
	two.Heartbeat() // it would be idle else
	if took := time.Since(began); took > bound() {
		t.Errorf("heartbeats %d took %v", n, took)
	}
	began = time.Now()
	ref := one.Push("innocent", "b", map[string]any{"n": n})
	want := fmt.Sprintf(`{"n":%d}`, n)
	two.WantEvent("innocent", "b", want)
	one.WantReply(ref, "ok")
	one.WantEvent("innocent", "b", want)
	if took := time.Since(began); took > bound() {
		t.Errorf("broadcast %d took %v", n, took)
	}
}
