//go:build unix

package main

import (
	"os"
	"syscall"
)

// lockFile takes the file for this process; it fails if another has it.
func lockFile(f *os.File) error { return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) }
