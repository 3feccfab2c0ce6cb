package gateway

import (
	"math/rand/v2"
	"time"
)

// retirement is when a socket that opens now is too old: MaxAge less up to a quarter of it, so that those who came together do not go together. 0: never.
func (l *loop) retirement() tick {
	age := l.srv.cfg.MaxAge
	if age == 0 {
		return 0
	}
	return l.after(age - time.Duration(rand.Int64N(int64(age)/4+1)))
}
