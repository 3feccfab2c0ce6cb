package hostile

import (
	"hash/fnv"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"testing"

	"github.com/phxgate/phxgate/gateway"
)

// variants is how many attacks of each class there are, each made from a seed of its own.
const variants = 20

// heapBound is how much more heap a class may leave in use than there was at the start.
const heapBound = 64 << 20

// class is one kind of hostile input.
type class struct {
	name   string
	change func(*gateway.Config) // nil: the arena's limits
	// begin starts one variant; what it returns, where it is not nil, waits for what is due. All variants have begun before the first is waited for.
	begin func(a *arena, v variant) (end func())
}

// variant is one attack of a class.
type variant struct {
	n int // 0 to variants-1
	r *rand.Rand
}

func classes() []class {
	return slices.Concat(silentClasses(), frameClasses(), floodClasses(), headClasses(), proxyClasses(), messageClasses(), channelClasses())
}

// TestHostile runs every class. HOSTILE_SEED repeats a run.
func TestHostile(t *testing.T) {
	seed := seedOf(t)
	start := heapInUse()
	for _, c := range classes() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			a := startArena(t, c.change)
			stop := a.watchInnocents()
			defer stop()
			var ends []func()
			for n := range variants {
				v := variant{n, rand.New(rand.NewPCG(seed, hashOf(c.name)+uint64(n)))}
				a.within(n, func() {
					if end := c.begin(a, v); end != nil {
						ends = append(ends, func() { a.within(n, end) })
					}
				})
			}
			for _, end := range ends {
				end()
			}
			stop()
			a.wantClean()
			if now := heapInUse(); now > start+heapBound {
				t.Errorf("%d bytes of heap in use, %d at the start", now, start)
			}
		})
	}
}

func seedOf(t *testing.T) uint64 {
	t.Helper()
	seed := rand.Uint64()
	if text := os.Getenv("HOSTILE_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("HOSTILE_SEED: %v", err)
		}
	}
	t.Logf("HOSTILE_SEED=%d", seed)
	return seed
}

func hashOf(name string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(name))
	return h.Sum64()
}

// heapInUse is what is in use after a collection.
func heapInUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse
}
