//go:build !linux

package gateway

// poller, where there is no epoll: sockets have goroutines of their own ([stream]) and a loop waits for its mailbox only.
type poller struct{ awake chan struct{} }

type ready struct {
	token    uint64
	readable bool
	writable bool
}

const wakeToken = ^uint64(0)

func newPoller() (*poller, error) { return &poller{awake: make(chan struct{}, 1)}, nil }

// wait returns after a wake-up, with no events.
func (p *poller) wait(park bool) (int, error) {
	if park {
		<-p.awake
	}
	return 0, nil
}

func (p *poller) at(int) ready { return ready{token: wakeToken} }

func (p *poller) wake() {
	select {
	case p.awake <- struct{}{}:
	default:
	}
}

func (p *poller) woken() {}
func (p *poller) close() {}
