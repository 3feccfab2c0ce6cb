package presence

import (
	"maps"
	"slices"
	"testing"
	"time"
)

// judged is gateways as a judge sees them, on a clock of its own. The pings' answers come as behave says.
type judged struct {
	t          *testing.T
	judge      *judge
	began, now time.Time
	registered map[string]Registration
	behave     map[string]behaviour
	dead       map[string]cause         // as soon as it was said
	at         map[string]time.Duration // and when
}

type behaviour int

const (
	answers behaviour = iota
	gone              // nobody listens
	hangs             // somebody listens, nobody answers
	renamed           // answers as another incarnation
)

func newJudged(t *testing.T, names ...string) *judged {
	now := time.Unix(1000, 0)
	f := &judged{
		t: t, judge: newJudge(), began: now, now: now, registered: map[string]Registration{}, behave: map[string]behaviour{},
		dead: map[string]cause{}, at: map[string]time.Duration{},
	}
	for _, in := range names {
		f.registered[in] = Registration{}
	}
	return f
}

// run passes time, in the judge's ticks.
func (f *judged) run(d time.Duration) {
	for end := f.now.Add(d); f.now.Before(end); f.now = f.now.Add(pingEvery) {
		f.judge.watch(f.registered, f.now)
		for in, why := range f.judge.verdicts(f.registered, f.now) {
			if _, ok := f.dead[in]; !ok {
				f.dead[in], f.at[in] = why, f.now.Sub(f.began)
			}
		}
		for in := range f.registered {
			switch f.behave[in] {
			case answers:
				f.judge.answered(in, in, f.now)
			case gone:
				f.judge.nobody(in, f.now)
			case hangs:
				f.judge.unanswered(in)
			case renamed:
				f.judge.answered(in, in+"-next", f.now)
			}
		}
	}
}

// wantDead checks who is dead, why, and when it was said, counted from the beginning.
func (f *judged) wantDead(why cause, from, to time.Duration, names ...string) {
	f.t.Helper()
	if got := slices.Sorted(maps.Keys(f.dead)); !slices.Equal(got, names) {
		f.t.Fatalf("dead are %v, want %q", f.dead, names)
	}
	for _, in := range names {
		if f.dead[in] != why || f.at[in] < from || f.at[in] > to {
			f.t.Errorf("%s: %s after %v, want %s after %v to %v", in, f.dead[in], f.at[in], why, from, to)
		}
	}
}

func TestJudgeLetsTheLivingLive(t *testing.T) {
	f := newJudged(t, "a=1", "b=1")
	f.run(time.Minute)
	f.wantDead("", 0, 0)
}

func TestJudgeSilent(t *testing.T) {
	f := newJudged(t, "a=1", "b=1")
	f.behave["a=1"] = gone
	f.run(10 * time.Second)
	f.wantDead(causeSilent, silentAfter, silentAfter+pingEvery, "a=1")
}

// TestJudgeSilentFleet: NATS knows when nobody listens, however many they are.
func TestJudgeSilentFleet(t *testing.T) {
	f := newJudged(t, "a=1", "b=1", "c=1")
	for in := range f.registered {
		f.behave[in] = gone
	}
	f.run(10 * time.Second)
	f.wantDead(causeSilent, silentAfter, silentAfter+pingEvery, "a=1", "b=1", "c=1")
}

// TestJudgeReconnect: a gateway that connects anew is not listened to for a moment, as often as it likes.
func TestJudgeReconnect(t *testing.T) {
	f := newJudged(t, "a=1", "b=1")
	for range 20 {
		f.behave["a=1"] = gone
		f.run(silentAfter - pingEvery)
		f.behave["a=1"] = answers
		f.run(pingEvery)
	}
	f.wantDead("", 0, 0)
}

// TestJudgeFewPings: time alone is no proof, where the pings were far between.
func TestJudgeFewPings(t *testing.T) {
	j, now := newJudge(), time.Unix(1000, 0)
	registered := map[string]Registration{"a=1": {}}
	j.watch(registered, now)
	for n := range silentPings + 1 {
		if dead := j.verdicts(registered, now); (len(dead) == 1) != (n == silentPings) {
			t.Errorf("after %d pings in %v: %v", n, time.Duration(n)*time.Second, dead)
		}
		j.nobody("a=1", now)
		now = now.Add(silentAfter)
	}
}

func TestJudgeHung(t *testing.T) {
	f := newJudged(t, "a=1", "b=1", "c=1")
	f.behave["a=1"] = hangs
	f.run(10 * time.Second)
	f.wantDead(causeHung, hungAfter, hungAfter+pingEvery, "a=1")
}

// TestJudgeHungAlone: of a fleet of one nothing else can be known.
func TestJudgeHungAlone(t *testing.T) {
	f := newJudged(t, "a=1")
	f.behave["a=1"] = hangs
	f.run(10 * time.Second)
	f.wantDead(causeHung, hungAfter, hungAfter+pingEvery, "a=1")
}

// TestJudgeHungHalf: half of a fleet is not most of it.
func TestJudgeHungHalf(t *testing.T) {
	f := newJudged(t, "a=1", "b=1", "c=1", "d=1")
	f.behave["a=1"], f.behave["b=1"] = hangs, hangs
	f.run(10 * time.Second)
	f.wantDead(causeHung, hungAfter, hungAfter+pingEvery, "a=1", "b=1")
}

func TestJudgeHungFleet(t *testing.T) {
	f := newJudged(t, "a=1", "b=1", "c=1")
	f.behave["a=1"], f.behave["b=1"] = hangs, hangs
	f.run(massHungAfter)
	f.wantDead("", 0, 0)
	f.run(10 * time.Second)
	f.wantDead(causeHung, massHungAfter, massHungAfter+pingEvery, "a=1", "b=1")
}

// TestJudgeSilentAmongHung: patience with a hung fleet is none with whom NATS knows to be gone.
func TestJudgeSilentAmongHung(t *testing.T) {
	f := newJudged(t, "a=1", "b=1", "c=1")
	f.behave["a=1"], f.behave["b=1"], f.behave["c=1"] = hangs, hangs, gone
	f.run(massHungAfter)
	f.wantDead(causeSilent, silentAfter, silentAfter+pingEvery, "c=1")
}

func TestJudgeRestarted(t *testing.T) {
	f := newJudged(t, "a=1", "b=1")
	f.behave["a=1"] = renamed
	f.run(10 * time.Second)
	f.wantDead(causeRestarted, pingEvery, pingEvery, "a=1")
}

func TestJudgeDraining(t *testing.T) {
	const linger = 7 * time.Second
	for _, c := range []struct {
		name   string
		linger time.Duration
		behave behaviour
		from   time.Duration
	}{
		{"it lives still", linger, answers, 0},
		{"gone", linger, gone, linger},
		{"gone, without linger", 0, gone, silentAfter},
		{"hung", linger, hangs, linger},
		{"hung, without linger", 0, hangs, hungAfter},
		{"started anew", linger, renamed, linger},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newJudged(t, "a=1", "b=1")
			f.registered["a=1"] = Registration{Draining: true, Linger: c.linger.Milliseconds()}
			f.behave["a=1"] = c.behave
			f.run(time.Minute)
			if c.from == 0 {
				f.wantDead("", 0, 0)
			} else {
				f.wantDead(causeDrained, c.from, c.from+pingEvery, "a=1")
			}
		})
	}
}

// TestJudgeBeginsAnew: what was not heard before a reset counts for nothing.
func TestJudgeBeginsAnew(t *testing.T) {
	f := newJudged(t, "a=1", "b=1", "c=1")
	f.behave["a=1"], f.behave["b=1"] = gone, hangs
	for range 20 {
		f.run(silentAfter)
		f.judge.reset()
	}
	f.wantDead("", 0, 0)
}

// TestJudgeNewcomers have the whole time before them, and who is not registered any more is not judged.
func TestJudgeNewcomers(t *testing.T) {
	f := newJudged(t, "a=1", "b=1", "c=1")
	f.behave["a=1"], f.behave["d=1"] = hangs, hangs
	f.run(2 * time.Second)
	delete(f.registered, "a=1")
	f.registered["d=1"] = Registration{}
	f.run(10 * time.Second)
	f.wantDead(causeHung, 2*time.Second+hungAfter, 2*time.Second+hungAfter+pingEvery, "d=1")
	f.judge.answered("a=1", "a=1", f.now) // a late answer
	if len(f.judge.suspects) != 3 {
		t.Errorf("%d are watched, want 3", len(f.judge.suspects))
	}
}
