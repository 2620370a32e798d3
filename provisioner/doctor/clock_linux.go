package doctor

import "syscall"

// unsynchronized reports whether the kernel says that nothing keeps its clock: adjtimex(2), TIME_ERROR.
func unsynchronized() bool {
	const timeError = 5
	var t syscall.Timex
	state, err := syscall.Adjtimex(&t)
	return err == nil && state == timeError
}
