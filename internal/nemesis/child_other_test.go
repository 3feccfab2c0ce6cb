//go:build unix && !linux

package nemesis

import "syscall"

// childAttributes put a process into a group of its own.
func childAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
