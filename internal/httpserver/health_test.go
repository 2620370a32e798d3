package httpserver

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestReadySaysWhatIsLacking has strangers ask a hundred times in a second: one look answers them all.
func TestReadySaysWhatIsLacking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		looks, lacks := 0, []Lack(nil)
		handler := Ready(func(ctx context.Context) []Lack {
			if _, ok := ctx.Deadline(); !ok {
				t.Error("the look is not bounded")
			}
			looks++
			return lacks
		})
		ask := func() *httptest.ResponseRecorder {
			w := httptest.NewRecorder()
			if err := handler(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/readyz", nil)); err != nil {
				t.Fatal(err)
			}
			return w
		}
		for range 100 {
			if w := ask(); w.Code != http.StatusOK || strings.TrimSpace(w.Body.String()) != `{"ready":true}` {
				t.Fatalf("ready: %d %s", w.Code, w.Body)
			}
		}
		if looks != 1 {
			t.Errorf("looked %d times for a hundred questions at once", looks)
		}
		lacks = []Lack{AwayNATS()}
		<-time.After(readyFor)
		w := ask()
		if want := `{"ready":false,"lacks":[{"part":"nats","why":"the NATS server is away"}]}`; w.Code != http.StatusServiceUnavailable || strings.TrimSpace(w.Body.String()) != want {
			t.Errorf("not ready: %d %s, want 503 %s", w.Code, w.Body, want)
		}
		if w.Header().Get("Retry-After") == "" {
			t.Error("it is not said when to come back")
		}
	})
}
