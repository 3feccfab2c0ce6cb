package nemesis

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// presenceRun is one test's.
type presenceRun struct {
	t       *testing.T
	fleet   *fleet
	people  *people
	faults  map[string]int
	longest map[string]time.Duration // until every list was right, by kind of fault
	checked int                      // lists compared
}

// TestPresenceNemesis: three NATS servers, three gateways, two presence services and three hundred sockets that join, leave, change and come back, while parts are killed, frozen and cut
// off one after the other. After each, once everybody is where he wants to be, every list must be the truth within five seconds; fifteen where a NATS server was away.
func TestPresenceNemesis(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute")
	}
	seed := setting(t, "NEMESIS_SEED", rand.Uint64N(1_000_000))
	seconds := setting(t, "NEMESIS_SECONDS", 60)
	t.Logf("NEMESIS_SEED=%d NEMESIS_SECONDS=%d", seed, seconds)
	r := &presenceRun{t: t, faults: map[string]int{}, longest: map[string]time.Duration{}}
	r.fleet = startFleet(t, presenceRules, "CONNECT_AUTH=jwt", "JWT_SECRET="+presenceSecret)
	r.fleet.startServices()
	r.people = newPeople(r.fleet.addrs[:], seed)
	t.Cleanup(r.people.end)
	r.settle(fault{kind: "the start"}, 3*recoveryLimit())

	rng := rand.New(rand.NewPCG(seed, 1))
	var kinds []int
	for begun := time.Now(); time.Since(begun) < time.Duration(seconds)*time.Second && !t.Failed(); {
		if len(kinds) == 0 {
			kinds = rng.Perm(len(presenceFaults))
		}
		if f := presenceFaults[kinds[0]](r.fleet, rng); wanted(f.kind) {
			r.round(f)
		}
		kinds = kinds[1:]
	}
	t.Logf("faults %v; %d lists compared; longest until all were right: %v", r.faults, r.checked, r.longest)
}

// round lets one fault happen while everybody is active, and then wants the truth.
func (r *presenceRun) round(f fault) {
	r.t.Helper()
	r.people.status.Store(0)
	r.people.active.Store(true)
	<-time.After(loadBefore)
	f.begin()
	<-time.After(f.hold)
	f.heal()
	<-time.After(loadBefore / 2)
	limit := recoveryLimit()
	if strings.Contains(f.kind, "NATS") {
		limit *= 3
	}
	took := r.settle(f, limit)
	r.faults[f.kind]++
	r.longest[f.kind] = max(r.longest[f.kind], took.Round(time.Millisecond))
	r.t.Logf("%s %s: %s for %v: right after %v", time.Now().Format("15:04:05.000"), f.kind, f.what, f.hold, took.Round(time.Millisecond))
	for _, note := range r.people.takeNotes() {
		r.t.Errorf("after %s (%s, %v): %s", f.kind, f.what, f.hold, note)
	}
	r.fleet.wantAlive()
}

// settle has everybody come to rest with one status, and waits until every list is the truth. The time counts from when all are where they want to be.
func (r *presenceRun) settle(f fault, limit time.Duration) time.Duration {
	r.t.Helper()
	r.people.active.Store(false)
	r.people.status.Store(time.Now().UnixNano())
	begun := time.Now()
	var rest time.Time // everybody is where he wants to be since
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	for now := range poll.C {
		restless := r.people.restless()
		switch {
		case restless != "":
			rest = time.Time{}
			if now.Sub(begun) > 6*recoveryLimit() {
				r.t.Fatalf("after %s (%s, %v): not at rest: %s", f.kind, f.what, f.hold, restless)
			}
			continue
		case rest.IsZero():
			rest = now
		}
		wrong := r.people.wrong()
		if wrong == "" {
			r.checked += personCount * roomsEach
			return now.Sub(rest)
		}
		if now.Sub(rest) > limit {
			r.t.Fatalf("after %s (%s, %v): %v after all came to rest: %s", f.kind, f.what, f.hold, limit, wrong)
		}
	}
	return 0
}

// restless says who is not where he wants to be, or whose last change is not accepted.
func (p *people) restless() string {
	final := p.status.Load()
	count, first := 0, ""
	for _, one := range p.all {
		one.mu.Lock()
		text := ""
		if one.wire == nil {
			text = "no socket"
		}
		for room, s := range one.seats {
			if s.state != joined || s.status != final {
				text = fmt.Sprintf("room %d: state %d, status %d", room, s.state, s.status)
			}
		}
		one.mu.Unlock()
		if text != "" {
			if count++; count == 1 {
				first = fmt.Sprintf("person %d: %s", one.number, text)
			}
		}
	}
	if count == 0 {
		return ""
	}
	return fmt.Sprintf("%d people, the first: %s", count, first)
}

// wrong compares every list with the truth; "" if all are right.
func (p *people) wrong() string {
	final := strconv.FormatInt(p.status.Load(), 10)
	var truth [roomCount]map[string]int // user to metas
	for i := range truth {
		truth[i] = map[string]int{}
	}
	for _, one := range p.all {
		one.mu.Lock()
		for room := range one.seats {
			truth[room][one.user]++
		}
		one.mu.Unlock()
	}
	ghosts, missing, stale, unsynced, first := 0, 0, 0, 0, ""
	for _, one := range p.all {
		one.mu.Lock()
		for room, s := range one.seats {
			if !s.roster.Synced() {
				unsynced++
				continue
			}
			for _, user := range slices.Concat(s.roster.Keys(), keysOf(truth[room])) {
				want, got := truth[room][user], s.roster.Metas(user)
				switch {
				case got > want:
					ghosts++
				case got < want:
					missing++
				}
				if got != want && first == "" {
					first = fmt.Sprintf("person %d sees %d of %s in room %d, truth is %d", one.number, got, user, room, want)
				}
				for _, text := range s.roster.Texts(user) {
					if got == want && statusOf(text) != final {
						if stale++; first == "" {
							first = fmt.Sprintf("person %d sees %s in room %d with status %s, the truth is %s", one.number, user, room, statusOf(text), final)
						}
					}
				}
			}
		}
		one.mu.Unlock()
	}
	if ghosts+missing+stale+unsynced == 0 {
		return ""
	}
	return fmt.Sprintf("%d lists with a ghost, %d with somebody missing, %d metas stale, %d without a state; %s", ghosts, missing, stale, unsynced, first)
}

func keysOf(m map[string]int) (keys []string) {
	for k := range m {
		keys = append(keys, k)
	}
	return keys
}

func statusOf(meta string) string {
	var m struct{ Status string }
	_ = json.Unmarshal([]byte(meta), &m)
	return m.Status
}

// tokenOf signs a user's token.
func tokenOf(user string) string {
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: []byte(presenceSecret)}, nil)
	if err != nil {
		panic(err)
	}
	token, err := jwt.Signed(signer).Claims(jwt.Claims{Subject: user, Expiry: jwt.NewNumericDate(time.Now().Add(24 * time.Hour))}).Serialize()
	if err != nil {
		panic(err)
	}
	return token
}
