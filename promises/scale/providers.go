package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"berth/promises/install"
)

// providers measures pipelines that run side by side as processes of this machine: what each takes, and how long it is from
// `provisioner add` to the first acknowledged reading.
func (s *scale) providers(ctx context.Context) error {
	fmt.Printf("\n# Providers with a pipeline of two processes each, idle\n")
	most := 2 * slices.Max(s.steps)
	in, stop, err := s.installation(ctx, "providers", most)
	if err != nil {
		return err
	}
	defer stop()
	if err := rest(ctx, time.Second); err != nil {
		return err
	}
	alone, err := install.Used(in.PID())
	if err != nil {
		return err
	}
	steps := slices.Sorted(slices.Values(s.steps))
	var took []time.Duration
	for n := range most {
		begun := time.Now()
		p, err := in.Add(ctx, fmt.Sprintf("provider%d", n+1))
		for again := 0; err != nil && again < 3; again++ { // it is safe to repeat, and says what was the matter
			fmt.Printf("      provider%d is added again: %v\n", n+1, err)
			p, err = in.Add(ctx, fmt.Sprintf("provider%d", n+1))
		}
		if err != nil {
			return err
		}
		conn, err := p.Hello(ctx, "gw1")
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(conn, "PUT 1 line 5\nu v=1"); err != nil {
			return err
		}
		line := make([]byte, len("ACK 1\n"))
		_, err = conn.Read(line)
		_ = conn.Close() // it has its answer
		if err != nil || string(line) != "ACK 1\n" {
			return fmt.Errorf("a first reading was answered %q, %w", line, err)
		}
		took = append(took, time.Since(begun))
		if n+1 != 2*steps[0] {
			continue
		}
		steps = append(steps[1:], 0)
		if err := rest(ctx, 3*time.Second); err != nil {
			return err
		}
		all, err := install.Used(in.PID())
		if err != nil {
			return err
		}
		fmt.Printf("%5d providers: %s in all of %d processes, %s each (what they share divided among them); resident %s; add to first acknowledgement %.2f s the last, %.2f s at most\n",
			n+1, mega(all.Own), all.Count, mega((all.Own-alone.Own)/int64(n+1)), mega(all.Resident), took[n].Seconds(), slices.Max(took).Seconds())
	}
	return nil
}
