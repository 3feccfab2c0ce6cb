package backend

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
)

// Tasks of one channel never overlap and keep their order, whatever the others do; all of them run.
func TestTurnsKeepOrder(t *testing.T) {
	const channels, tasks = 20, 200
	turns := newTurns(4, channels*tasks)
	var mu sync.Mutex
	got := map[string][]int{}
	for n := range tasks {
		for c := range channels {
			channel := fmt.Sprint(c)
			if !turns.add(channel, func() {
				mu.Lock()
				defer mu.Unlock()
				got[channel] = append(got[channel], n)
			}) {
				t.Fatal("refused")
			}
		}
	}
	turns.wait()
	for c := range channels {
		if g := got[fmt.Sprint(c)]; len(g) != tasks || !slices.IsSorted(g) {
			t.Errorf("channel %d: %v", c, g)
		}
	}
	if turns.count != 0 || len(turns.queues) != 0 || turns.running != 0 {
		t.Errorf("left over: %d tasks, %d queues, %d goroutines", turns.count, len(turns.queues), turns.running)
	}
}

// A channel whose task hangs holds up itself alone, as long as there are workers; more than so many wait, and are refused.
func TestTurnsLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := newTurns(2, 3)
		release := make(chan struct{})
		var mu sync.Mutex
		var ran []string
		task := func(name string, wait bool) func() {
			return func() {
				if wait {
					<-release
				}
				mu.Lock()
				defer mu.Unlock()
				ran = append(ran, name)
			}
		}
		add := func(channel, name string, wait, want bool) {
			t.Helper()
			if got := turns.add(channel, task(name, wait)); got != want {
				t.Errorf("%s: taken %v, want %v", name, got, want)
			}
			synctest.Wait()
		}
		add("a", "a1", true, true)
		add("a", "a2", false, true)
		add("b", "b1", false, true) // the second worker
		if !slices.Equal(ran, []string{"b1"}) {
			t.Errorf("ran %v while a hangs, want b1", ran)
		}
		add("", "c1", true, true)
		add("", "c2", false, true) // no channel, but no worker either
		add("d", "d1", false, true)
		add("d", "d2", false, false) // a2, c2 and d1 wait
		if len(ran) != 1 {
			t.Errorf("ran %v on more than two goroutines", ran)
		}
		close(release)
		turns.wait()
		if slices.Sort(ran); !slices.Equal(ran, []string{"a1", "a2", "b1", "c1", "c2", "d1"}) {
			t.Errorf("ran %v", ran)
		}
	})
}
