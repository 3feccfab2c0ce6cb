package clustertest

import (
	"net"

	"golang.org/x/sys/unix"
)

// tellsReceived says whether waitReceived does anything.
const tellsReceived = true

// waitReceived waits until the peer acknowledged what was written to c, on loopback mostly when its program has read it (tcp(7), SIOCOUTQ). It gives the processor away
// two times at most, some 0.1 ms: the kernel may hold back an acknowledgement for 40 ms and more.
func waitReceived(c *net.TCPConn) {
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	for range 2 {
		unacknowledged := 0
		if err := raw.Control(func(fd uintptr) { unacknowledged, _ = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) }); err != nil || unacknowledged == 0 {
			return
		}
		_ = unix.Nanosleep(&unix.Timespec{Nsec: 1}, nil)
	}
}
