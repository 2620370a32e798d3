package locale

import (
	"testing"

	"berth/internal/locale/localetest"
)

func TestTexts(t *testing.T) {
	c, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	localetest.Check(t, c)
}
