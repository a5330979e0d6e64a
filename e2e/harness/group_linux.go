package harness

import "syscall"

// ownGroup puts a process into a group of its own and has the kernel end it
// when the tests themselves are killed.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
