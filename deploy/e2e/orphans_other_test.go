//go:build !linux

package e2e

import "syscall"

// dieWithParent cannot be had on this system: a test binary that is killed leaves its processes behind.
func dieWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{} }
