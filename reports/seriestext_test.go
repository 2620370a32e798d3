package reports

import (
	"encoding/json"
	"testing"
	"time"

	"pgregory.net/rapid"

	"berth/internal/api"
)

// TestSeriesAreWrittenAsJSONWritesThem: byte for byte, whatever the numbers and texts.
func TestSeriesAreWrittenAsJSONWritesThem(t *testing.T) {
	number := rapid.Custom(func(t *rapid.T) api.Number {
		return api.Number(rapid.OneOf(rapid.Float64(), rapid.SampledFrom(special)).Draw(t, "number"))
	})
	text := rapid.Custom(func(t *rapid.T) *string {
		if rapid.Bool().Draw(t, "none") {
			return nil
		}
		return new(rapid.String().Draw(t, "text"))
	})
	rapid.Check(t, func(t *rapid.T) {
		a := &api.SeriesAnswer{
			Gateway: rapid.String().Draw(t, "gateway"), From: time.Unix(0, rapid.Int64Range(0, 1e18).Draw(t, "from")).UTC(), To: time.Unix(5e8, 0).UTC(),
			Source: "hours", Step: rapid.Float64Range(0, 1e9).Draw(t, "step"), Complete: api.Complete{Complete: rapid.Bool().Draw(t, "complete")},
		}
		if !a.Complete.Complete {
			a.Reason, a.UpTo = "why <not>", &a.From
		}
		for range rapid.IntRange(0, 3).Draw(t, "series") {
			a.Series = append(a.Series, api.Series{
				Sensor: rapid.String().Draw(t, "sensor"), Kind: "float", Raw: rapid.Bool().Draw(t, "raw"),
				Time: rapid.SliceOf(rapid.Int64()).Draw(t, "time"), Min: rapid.SliceOf(number).Draw(t, "min"), Max: rapid.SliceOf(number).Draw(t, "max"),
				Mean: rapid.SliceOf(number).Draw(t, "mean"), Count: rapid.SliceOf(rapid.Uint64()).Draw(t, "count"), Text: rapid.SliceOf(text).Draw(t, "texts"),
				Gap: rapid.Float64Range(0, 1e9).Draw(t, "gap"),
			})
		}
		seriesWritten(t, a)
	})
	of := api.Series{Sensor: "a", Kind: "float", Time: []int64{1}} // its other lists are null
	for _, f := range special {
		of.Mean = append(of.Mean, api.Number(f))
	}
	seriesWritten(t, &api.SeriesAnswer{Series: []api.Series{of, of}})
	seriesWritten(t, &api.SeriesAnswer{})
}

// seriesWritten compares what is written of an answer with what encoding/json writes.
func seriesWritten(t interface{ Fatalf(string, ...any) }, a *api.SeriesAnswer) {
	want, err := json.Marshal(a)
	got, werr := appendSeriesAnswer(nil, a)
	if err != nil || werr != nil || string(got) != string(want) {
		t.Fatalf("%v\n%s\nwant\n%s, %v", werr, got, want, err)
	}
}
