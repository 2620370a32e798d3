//go:build race

package figures

import "testing"

// Skip skips the test: the race detector allocates too, and pools forget.
func Skip(t *testing.T) { t.Helper(); t.Skip("the race detector allocates too") }
