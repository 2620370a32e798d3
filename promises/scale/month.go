package main

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"berth/internal/api"
)

const (
	monthGateways = 100
	monthSensors  = 4
	monthStep     = 5 * time.Minute
	monthPixels   = 1000
)

// month measures a month of the charts of 100 gateways, as a browser 1,000 pixels wide asks for them: one answer through web.
func (s *scale) month(ctx context.Context) error {
	fmt.Printf("\n# A month of %d gateways of %d sensors, a reading in %v, in %d points each\n", monthGateways, monthSensors, monthStep, monthPixels)
	a, stop, err := s.provided(ctx, "month")
	if err != nil {
		return err
	}
	defer stop()
	if err := a.fillMonth(ctx); err != nil {
		return err
	}
	q := url.Values{"from": {"now-30d"}, "points": {strconv.Itoa(monthPixels)}, "limit": {"1000"}, "value": {"min", "max", "mean"}}
	for sensor := range monthSensors {
		q.Add("sensor", fmt.Sprintf("unit.s%d", sensor))
	}
	path := "/series?" + q.Encode()
	var answer api.FleetSeries
	err = until(ctx, 5*time.Minute, "the log being trimmed", func() (bool, error) {
		var books api.Books
		err := a.get(ctx, "/books", &books)
		return err == nil && books.Log.Messages <= 1, err
	})
	if err != nil {
		return err
	}
	if err := rest(ctx, 2*time.Minute); err != nil { // rollups of closed hours are due within a minute, of so many within two
		return err
	}
	if err := a.get(ctx, path, &answer); err != nil {
		return err
	}
	points := 0
	for i := range answer.Gateways {
		for j := range answer.Gateways[i].Series {
			points = max(points, len(answer.Gateways[i].Series[j].Time))
		}
	}
	if len(answer.Gateways) != monthGateways || points < 500 || points > 2*monthPixels {
		return fmt.Errorf("the answer has %d gateways and up to %d points", len(answer.Gateways), points)
	}
	browser, err := a.signedIn(ctx)
	if err != nil {
		return err
	}
	size := 0
	took, err := median(11, func() (err error) {
		size, err = read(ctx, browser, "http://"+a.in.Web+"/api/v1/providers/"+a.provider.Name+path)
		return err
	})
	if err != nil {
		return err
	}
	fmt.Printf("%d series of %d points at most: %.0f ms, median of 11, first to last byte, %s of JSON\n", monthGateways*monthSensors, points, took.Seconds()*1e3, mega(int64(size)))
	return nil
}

// fillMonth sends the month, a gateway after the other.
func (a *asked) fillMonth(ctx context.Context) error {
	end := time.Now().Truncate(monthStep)
	var lines []byte
	for n := range monthGateways {
		for at := end.AddDate(0, 0, -30); at.Before(end); at = at.Add(monthStep) {
			lines = fmt.Appendf(lines, "unit,gateway=gw%03d ", n)
			for sensor := range monthSensors {
				lines = fmt.Appendf(lines, "%ss%d=%d.%d", ","[:min(sensor, 1)], sensor, (at.Unix()/300+int64(n*sensor))%90, sensor)
			}
			lines = append(strconv.AppendInt(append(lines, ' '), at.UnixNano(), 10), '\n')
			if len(lines) > 256<<10 {
				if err := a.write(ctx, lines); err != nil {
					return err
				}
				lines = lines[:0]
			}
		}
	}
	if len(lines) == 0 {
		return nil
	}
	return a.write(ctx, lines)
}
