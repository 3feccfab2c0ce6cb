package gateway

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/phxgate/phxgate/gateway/phx"
)

// TestItemsModel compares the queue with a slice.
func TestItemsModel(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 3))
		var q items
		var want []item
		for i := range 1000 {
			if r.IntN(100) < 40+20*(i/200%2) { // grows and shrinks
				it := item{ref: phx.Ref(fmt.Sprint(i))}
				if r.IntN(10) == 0 {
					it.kind = itemJoin
				}
				q.push(it)
				want = append(want, it)
			} else {
				it, ok := q.pop()
				if ok != (len(want) > 0) || ok && (it.ref != want[0].ref || it.kind != want[0].kind) {
					t.Fatalf("seed %d: popped %v %v, want the first of %v", seed, it.ref, ok, want)
				}
				want = want[min(1, len(want)):]
			}
			var last *item
			for i := range want {
				if want[i].kind == itemJoin {
					last = &want[i]
				}
			}
			if got := q.lastJoin(); (got == nil) != (last == nil) || got != nil && got.ref != last.ref {
				t.Fatalf("seed %d: the last join is %v, want %v", seed, got, last)
			}
			i := 0
			for it := range q.all() {
				if it.ref != want[i].ref {
					t.Fatalf("seed %d: item %d is %v, want %v", seed, i, it.ref, want[i].ref)
				}
				i++
			}
			if i != len(want) || q.n != len(want) || len(want) == 0 && q.chunks != nil {
				t.Fatalf("seed %d: %d items of %d, counted %d, in %d chunks", seed, i, len(want), q.n, len(q.chunks))
			}
		}
	}
}
