package api

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"

	"berth/schema"
)

// Number is a float64 in JSON; NaN and infinities, which JSON lacks, are the texts "NaN", "+Inf" and "-Inf".
type Number float64

// MarshalJSON writes the number in the shortest form that reads back the same.
func (n Number) MarshalJSON() ([]byte, error) {
	f := float64(n)
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return json.Marshal(schema.FloatValue(f).String())
	}
	return json.Marshal(f)
}

// UnmarshalJSON reads a number as MarshalJSON writes it.
func (n *Number) UnmarshalJSON(data []byte) error {
	if len(data) == 0 || data[0] != '"' && data[0] != 'n' {
		f, err := plainNumber(data)
		*n = Number(f)
		return err
	}
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return err
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return schema.Errorf(schema.Invalid, "%q is no number", text)
	}
	*n = Number(f)
	return nil
}

// plainNumber reads a number of JSON without asking encoding/json, which takes ten times as long, where it has no more than a
// number can have: the decoder that hands it over has read it already.
func plainNumber(data []byte) (f float64, err error) {
	for _, c := range data {
		if (c < '0' || c > '9') && c != '-' && c != '+' && c != '.' && c != 'e' && c != 'E' {
			err = json.Unmarshal(data, &f) // such as null
			return f, err
		}
	}
	if f, err = strconv.ParseFloat(string(data), 64); err != nil {
		err = json.Unmarshal(data, &f) // says what is wrong with it
	}
	return f, err
}

// Numbers are a list of numbers, read at once: a wall of charts has hundreds of thousands.
type Numbers []Number

// UnmarshalJSON reads a list as encoding/json writes it.
func (l *Numbers) UnmarshalJSON(data []byte) error {
	inner, found := bytes.CutPrefix(data, []byte{'['})
	inner, closed := bytes.CutSuffix(inner, []byte{']'})
	if !found || !closed || bytes.ContainsAny(inner, `"[{n`) { // text, or no list of numbers
		var all []Number
		err := json.Unmarshal(data, &all)
		*l = all
		return err
	}
	all := make(Numbers, 0, bytes.Count(inner, []byte{','})+1)
	for one := range bytes.SplitSeq(inner, []byte{','}) {
		one = bytes.TrimSpace(one)
		if len(one) == 0 && len(all) == 0 {
			break // an empty list
		}
		f, err := plainNumber(one)
		if err != nil {
			return err
		}
		all = append(all, Number(f))
	}
	*l = all
	return nil
}

// SeriesValues are what a series has of each bucket, besides its time.
var SeriesValues = []string{"min", "max", "mean", "count"}

// Drop leaves one of SeriesValues out.
func (s *Series) Drop(value string) {
	switch value {
	case "min":
		s.Min = nil
	case "max":
		s.Max = nil
	case "mean":
		s.Mean = nil
	case "count":
		s.Count = nil
	}
}
