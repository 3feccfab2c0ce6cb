package clustertest

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// tellsReceived says whether waitReceived does anything.
const tellsReceived = true

// waitReceived waits until the peer acknowledged what was written to c, on loopback mostly when its program has read it (tcp(7), SIOCOUTQ), or until patience is over.
func waitReceived(c *net.TCPConn, patience time.Duration) {
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	for start := time.Now(); time.Since(start) < patience; {
		unacknowledged := 0
		if err := raw.Control(func(fd uintptr) { unacknowledged, _ = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) }); err != nil || unacknowledged == 0 {
			return
		}
		_ = unix.Nanosleep(&unix.Timespec{Nsec: 1}, nil) // gives the processor to whoever reads
	}
}
