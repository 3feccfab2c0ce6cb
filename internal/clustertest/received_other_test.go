//go:build !linux

package clustertest

import (
	"net"
	"time"
)

const tellsReceived = false

func waitReceived(*net.TCPConn, time.Duration) {}
