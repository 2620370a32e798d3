package record

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"berth/schema"
)

// Wish is what is wanted of a provider's instances of one role. What it does not name is the runtime's own default.
type Wish struct {
	Resources Resources `json:"resources,omitzero"`
	Image     string    `json:"image,omitempty"`    // of a container; empty: the runtime's own for the role
	Trial     *Trial    `json:"trial,omitempty"`    // the image is new: the one before comes back unless it gets healthy
	Reverted  *Reverted `json:"reverted,omitempty"` // an image that did not get healthy, until another is asked for
}

// Trial is of an image that has not been healthy yet. It is kept in the record, so that whoever goes on after a kill knows
// what to bring back.
type Trial struct {
	Before string    `json:"before,omitempty"` // the image that comes back; empty: the runtime's own
	Begun  time.Time `json:"begun"`
}

// Reverted is of an image that did not get healthy in time, so that the one before it came back.
type Reverted struct {
	Image string    `json:"image,omitempty"` // empty: the runtime's own
	At    time.Time `json:"at"`
	Why   string    `json:"why"`
}

// Try returns the wish for another image, which is on trial from now on. An image that was on trial itself is not the
// one to come back.
func (w Wish) Try(image string, now time.Time) Wish {
	if image == w.Image {
		return w
	}
	before := w.Image
	if w.Trial != nil {
		before = w.Trial.Before
	}
	w.Image, w.Trial, w.Reverted = image, &Trial{Before: before, Begun: now}, nil
	if image == before {
		w.Trial = nil
	}
	return w
}

// Keep returns the wish after its image has got healthy.
func (w Wish) Keep() Wish {
	w.Trial = nil
	return w
}

// Revert returns the wish after its image has failed its trial.
func (w Wish) Revert(why string, now time.Time) Wish {
	if w.Trial == nil {
		return w
	}
	w.Image, w.Trial, w.Reverted = w.Trial.Before, nil, &Reverted{Image: w.Image, At: now, Why: why}
	return w
}

// OnTrial reports whether two wishes are of the same trial.
func (w Wish) OnTrial(other Wish) bool {
	return w.Trial != nil && other.Trial != nil && w.Image == other.Image && w.Trial.Before == other.Trial.Before && w.Trial.Begun.Equal(other.Trial.Begun)
}

// Resources bound what one instance may use. 0 is the runtime's own default.
type Resources struct {
	Memory   int64 `json:"memory,omitempty"`    // in bytes
	MilliCPU int64 `json:"milli_cpu,omitempty"` // 1000 is one core
	PIDs     int64 `json:"pids,omitempty"`
	Files    int64 `json:"files,omitempty"` // open at a time
}

// Resource is one of the Resources, and what it may be.
type Resource struct {
	Name  string // of the field in JSON
	Least int64
	Most  int64
	Field func(*Resources) *int64
}

// resources is the table of the Resources. The least are what a program of ours needs to start at all.
var resources = []Resource{
	{Name: "memory", Least: 16 << 20, Most: 1 << 42, Field: func(r *Resources) *int64 { return &r.Memory }},
	{Name: "milli_cpu", Least: 10, Most: 1_024_000, Field: func(r *Resources) *int64 { return &r.MilliCPU }},
	{Name: "pids", Least: 16, Most: 1 << 22, Field: func(r *Resources) *int64 { return &r.PIDs }},
	{Name: "files", Least: 64, Most: 1 << 30, Field: func(r *Resources) *int64 { return &r.Files }},
}

// EachResource returns what the resources are called and may be, in the order in which people are shown them.
func EachResource() []Resource { return slices.Clone(resources) }

// String returns the resources for a person.
func (r Resources) String() string {
	var set []string
	if n := r.Memory; n != 0 && n%(1<<20) == 0 {
		set = append(set, fmt.Sprintf("memory %d MiB", n>>20))
	} else if n != 0 {
		set = append(set, fmt.Sprintf("memory %d bytes", n))
	}
	if r.MilliCPU != 0 {
		set = append(set, fmt.Sprintf("%g cpus", float64(r.MilliCPU)/1000))
	}
	if r.PIDs != 0 {
		set = append(set, fmt.Sprintf("%d pids", r.PIDs))
	}
	if r.Files != 0 {
		set = append(set, fmt.Sprintf("%d files", r.Files))
	}
	if len(set) == 0 {
		return "its runtime's defaults"
	}
	return strings.Join(set, ", ")
}

// image is how an image may be named: a registry's host, a path, a tag or a digest, and nothing that a shell or an engine
// could take for something else.
var image = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._/:@-]{0,254}$`)

// Validate returns an Invalid error that names the first part of the wish which cannot be.
func (w Wish) Validate() error {
	for _, each := range resources {
		n := *each.Field(&w.Resources)
		if n != 0 && (n < each.Least || n > each.Most) {
			return schema.Errorf(schema.Invalid, "%s=%d is not between %d and %d", each.Name, n, each.Least, each.Most).
				WithNext("0, or default, is the runtime's own")
		}
	}
	if w.Image != "" && !image.MatchString(w.Image) {
		return schema.Errorf(schema.Invalid, "%q is no image's name", w.Image).WithNext("give one such as berth/ingest:v2")
	}
	return nil
}
