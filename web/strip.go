package web

import (
	"strconv"
	"strings"
	"time"

	"berth/internal/api"
)

// hourWide is how wide an hour is in the drawing of a strip, with what parts it from the next: the style draws dashes.
const hourWide = 4

// strip is how a gateway was in each hour of the last day, drawn and in words.
type strip struct {
	Wide int
	Bars []stripBar // of each state that occurs
	Text string
}

// stripBar is the hours of one state, drawn as dashes along a path.
type stripBar struct {
	State api.State
	Path  string
}

// run is a stretch of hours of one state.
type run struct {
	state api.State
	from  int // number of the first hour
	hours int
}

func runsOf(states []api.State) (all []run) {
	for i, s := range states {
		if n := len(all); n > 0 && all[n-1].state == s {
			all[n-1].hours++
		} else {
			all = append(all, run{s, i, 1})
		}
	}
	return all
}

// stripOf draws a gateway's day; nil: there is none.
func (f *frame) stripOf(day *api.Day) *strip {
	if day == nil {
		return nil
	}
	s := &strip{Wide: hourWide * len(day.States)}
	runs := runsOf(day.States)
	for _, state := range api.States() {
		var path strings.Builder
		for _, r := range runs {
			if r.state == state {
				path.WriteString("M" + strconv.Itoa(hourWide*r.from) + " 0h" + strconv.Itoa(hourWide*r.hours-1))
			}
		}
		if path.Len() > 0 {
			s.Bars = append(s.Bars, stripBar{state, path.String()})
		}
	}
	s.Text = f.dayText(day, runs)
	return s
}

// dayText says the same in words: how many hours were as usual, and which were not.
func (f *frame) dayText(day *api.Day, runs []run) string {
	hours, spans := map[api.State]int{}, map[api.State][]string{}
	at := func(hour int) string { return day.From.Add(time.Duration(hour) * time.Hour).In(f.zone).Format("15:04") }
	for _, r := range runs {
		hours[r.state] += r.hours
		spans[r.state] = append(spans[r.state], at(r.from)+"–"+at(r.from+r.hours))
	}
	text := f.T("day.online", "n", hours[api.Online], "of", len(day.States))
	if n := hours[api.Late]; n > 0 {
		text += f.T("day.late", "n", n, "spans", strings.Join(spans[api.Late], ", "))
	}
	if n := hours[api.Offline]; n > 0 {
		text += f.T("day.offline", "n", n, "spans", strings.Join(spans[api.Offline], ", "))
	}
	if n := hours[api.Never]; n > 0 {
		text += f.T("day.never", "n", n)
	}
	return text
}
