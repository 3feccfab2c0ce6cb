package balancer

import (
	"context"
	"io"
	"net"
	"sync"
	"time"
)

// halfCloseTimeout bounds what the other direction may still send once one has
// ended, so that a peer which ignores the end of the stream is not kept for ever.
const halfCloseTimeout = time.Minute

// relay copies both ways until both directions have ended, one has broken, or ctx
// ends. It closes both connections, and returns when its goroutines have ended.
func relay(ctx context.Context, client, upstream net.Conn) {
	closeBoth := func() {
		client.Close()
		upstream.Close()
	}
	defer closeBoth()
	interrupted := make(chan struct{}) // closed when the interruption has been carried out
	stop := context.AfterFunc(ctx, func() {
		closeBoth()
		close(interrupted)
	})

	var toUpstream sync.WaitGroup
	toUpstream.Go(func() { copyUntilEnd(upstream, client, closeBoth) })
	copyUntilEnd(client, upstream, closeBoth)
	toUpstream.Wait()
	if !stop() {
		<-interrupted
	}
}

// copyUntilEnd copies src to dst. The end of src is passed on as the end of what
// dst receives, while dst may still answer; anything else calls broken.
func copyUntilEnd(dst, src net.Conn, broken func()) {
	// Between two *net.TCPConn, io.Copy is splice(2) on Linux: no copy through
	// this process.
	if _, err := io.Copy(dst, src); err != nil {
		broken()
		return
	}
	half, ok := dst.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		broken()
		return
	}
	if err := dst.SetReadDeadline(time.Now().Add(halfCloseTimeout)); err != nil {
		broken()
	}
}
