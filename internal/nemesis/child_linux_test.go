package nemesis

import "syscall"

// childAttributes put a process into a group of its own and have the kernel kill it when the thread that started it ends, however that happens.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
