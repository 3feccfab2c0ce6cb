package gateway

import (
	"hash/maphash"
	"sync"
	"time"
)

// users are the budgets of users: of all sockets of one id on this gateway together. The loops share them.
//
// A user is here while a socket of the id is open that has sent or joined. The budget of one who goes is kept until it is full again, so that to reconnect is no way to
// get a new one; of at most maxGone users: beyond that, some budget is forgotten, and forgetting gives a full one.
type users struct {
	limits Limits
	seed   maphash.Seed
	shards [userShards]userShard
}

const (
	userShards = 64
	maxGone    = 1 << 16 // some 250 bytes each
)

type userShard struct {
	mu   sync.Mutex // guards here, gone, and the sockets of every user in them
	here map[string]*user
	gone map[string]*user
}

// user is one user's budget, and how many sockets hold it. All methods may be called on nil: nobody's limits.
type user struct {
	id      string
	sockets int

	mu     sync.Mutex // guards budget; taken last
	budget budget
}

func (u *user) takeEvent(now time.Duration) bool { return u == nil || u.take(u.budget.events, now) }
func (u *user) takeJoin(now time.Duration) bool  { return u == nil || u.take(u.budget.joins, now) }

func (u *user) take(b *limiter, now time.Duration) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return take(b, now)
}

func (u *user) full(now time.Duration) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.budget.full(now)
}

func newUsers(limits Limits) *users { return &users{limits: limits, seed: maphash.MakeSeed()} }

func (us *users) shard(id string) *userShard {
	return &us.shards[maphash.String(us.seed, id)%userShards]
}

// hold returns the user of an id for one socket, to be released when that ends; nil for an anonymous socket, and where users have no limits.
func (us *users) hold(id string) *user {
	if id == "" || us.limits == (Limits{}) {
		return nil
	}
	sh := us.shard(id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	u := sh.here[id]
	if u == nil {
		if u = sh.gone[id]; u != nil {
			delete(sh.gone, id)
		} else {
			u = &user{id: id, budget: newBudget(us.limits)}
		}
		if sh.here == nil {
			sh.here, sh.gone = map[string]*user{}, map[string]*user{}
		}
		sh.here[id] = u
	}
	u.sockets++
	return u
}

// release gives back what hold returned.
func (us *users) release(u *user, now time.Duration) {
	if u == nil {
		return
	}
	sh := us.shard(u.id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if u.sockets--; u.sockets > 0 {
		return
	}
	delete(sh.here, u.id)
	if u.full(now) {
		return
	}
	if len(sh.gone) >= maxGone/userShards {
		for id := range sh.gone {
			delete(sh.gone, id)
			break
		}
	}
	sh.gone[u.id] = u
}

// sweep forgets who is gone and has a full budget.
func (us *users) sweep(now time.Duration) {
	for i := range us.shards {
		sh := &us.shards[i]
		sh.mu.Lock()
		for id, u := range sh.gone {
			if u.full(now) {
				delete(sh.gone, id)
			}
		}
		sh.mu.Unlock()
	}
}
