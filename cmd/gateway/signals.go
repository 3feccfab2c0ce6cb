package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// hurry is how long the program may take to end when it is told a second time.
const hurry = 2 * time.Second

// untilSignals returns contexts that end with the first and the second SIGTERM or SIGINT: to drain, and to end now. A program that is still there a moment after the second is ended.
func untilSignals() (drain, now context.Context) {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	drain, first := context.WithCancel(context.Background())
	now, second := context.WithCancel(context.Background())
	go func() { // ends with the process
		<-signals
		first()
		<-signals
		second()
		<-time.After(hurry)
		os.Exit(1)
	}()
	return drain, now
}
