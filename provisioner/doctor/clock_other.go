//go:build !linux

package doctor

// unsynchronized cannot be told here.
func unsynchronized() bool { return false }
