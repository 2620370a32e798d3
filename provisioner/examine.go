package provisioner

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"berth/provisioner/control"
	"berth/provisioner/doctor"
	"berth/provisioner/plan"
	"berth/provisioner/survey"
	"berth/schema"
	"berth/schema/record"
)

// examine checks what only the daemon can: NATS, the keyspaces, ports, instances, and the address that people open.
func (p *Provisioner) examine(ctx context.Context) []doctor.Check {
	checks, _ := p.examined(ctx)
	return checks
}

// examined returns the checks, and the survey that they were made of: nil when the installation cannot be seen.
func (p *Provisioner) examined(ctx context.Context) ([]doctor.Check, *survey.Survey) {
	checks := append([]doctor.Check{p.examineNATS(ctx), p.examineKeyspaces(ctx), p.examineReserve()}, p.examineServers(ctx)...)
	before, now, err := p.look(ctx)
	if err != nil {
		return append(checks, doctor.Bad(doctor.Fail, "instances", "look at the daemon's own log", "they cannot be looked at: %s", schema.Show(err))), nil
	}
	checks = append(append(checks, now.Checks(before)...), p.examineStored(now.World))
	checks = append(checks, p.examineSenders(ctx)...)
	if p.o.Web == "" {
		return append(checks, doctor.Good("browser address", "no web is run")), now
	}
	return append(checks, doctor.Browser(ctx, p.webURL())), now
}

// lookAgain is how far the two surveys of a doctor are apart: what rises is seen by their difference.
const lookAgain = time.Second

// look takes two surveys, and finds out why instances end.
func (p *Provisioner) look(ctx context.Context) (before, now *survey.Survey, err error) {
	if before, err = p.survey.Take(ctx); err != nil {
		return nil, nil, err
	}
	pause := time.NewTimer(lookAgain)
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	if now, err = p.survey.Take(ctx); err != nil {
		return nil, nil, err
	}
	p.survey.Explain(ctx, now)
	return before, now, nil
}

func (p *Provisioner) examineNATS(ctx context.Context) doctor.Check {
	const name = "nats"
	if err := p.server.Healthy(); err != nil {
		if p.remote != nil {
			return doctor.Bad(doctor.Fail, name, "start them, and look at their own logs; gateways wait, and go on by themselves", "%s", schema.Show(err))
		}
		return doctor.Bad(doctor.Fail, name, "free disk space: it heals by itself within half a minute; if not, start the provisioner again", "%s", schema.Show(err))
	}
	if _, err := p.house.Providers(ctx); err != nil {
		return doctor.Bad(doctor.Fail, name, "look at the daemon's own log", "the records cannot be read: %s", schema.Show(err))
	}
	return doctor.Good(name, "%s answers", p.server.URL())
}

// sqliteScheme begins the URL of keyspaces that are files.
const sqliteScheme = "sqlite:"

func (p *Provisioner) examineKeyspaces(ctx context.Context) doctor.Check {
	const name = "keyspaces"
	dir, files := strings.CutPrefix(p.backend, sqliteScheme)
	if !files {
		r, err := p.keyspaces.Reader(ctx, "doctor")
		if err == nil {
			err = r.Close() // a provider has that name
		}
		if err != nil && !schema.Is(err, schema.NotFound) {
			return doctor.Bad(doctor.Fail, name, "start what keeps them: readings stay in the log meanwhile, and are stored later", "%s", schema.Show(err))
		}
		all, err := p.house.Providers(ctx)
		if n := control.Own(all); err == nil && n > control.OwnKeyspaces {
			return doctor.Bad(doctor.Warn, name, "see that each node has 1 GB of heap for 65 of them; add more with --placement shared",
				"%d providers have a keyspace of their own, more than a node with 1 GB of heap bears", n)
		}
		return doctor.Good(name, "%s answers", p.backend)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return doctor.Bad(doctor.Fail, name, "check the disk and its owner", "%s cannot be made: %v", dir, err)
	}
	f, err := os.CreateTemp(dir, ".doctor-*")
	if err != nil {
		return doctor.Bad(doctor.Fail, name, "check the disk and its owner", "%s cannot be written: %v", dir, err)
	}
	_ = f.Close()
	_ = os.Remove(f.Name())
	return doctor.Good(name, "%s can be written", p.backend)
}

func (p *Provisioner) examineReserve() doctor.Check {
	const name = "disk reserve"
	if d := p.disk.Look(); d.Low {
		return doctor.Bad(doctor.Fail, name, "free some, or keep less: provisioner set <provider> --retention 90d; gateways go on by themselves",
			"gateways wait: %s", d.Detail)
	}
	return doctor.Good(name, "gateways need not wait for the disks")
}

// examineStored looks for what is damaged: files that were set aside, and what answers have met.
func (p *Provisioner) examineStored(actual plan.World) doctor.Check {
	const name = "stored data"
	var found []string
	if dir, files := strings.CutPrefix(p.backend, sqliteScheme); files {
		for _, path := range within(dir, "*/*.damaged-*.db") {
			found = append(found, path+" is damaged and was set aside")
		}
	}
	if rotten := within(filepath.Join(p.o.Data, "nats", "rotten"), "*"); len(rotten) > 0 {
		found = append(found, fmt.Sprintf("%d messages of streams have rotted, and are kept in %s", len(rotten), filepath.Dir(rotten[0])))
	}
	for _, provider := range slices.Sorted(maps.Keys(actual.Providers)) {
		for _, e := range actual.Providers[provider].Services[record.RoleReports].Episodes {
			found = append(found, fmt.Sprintf("%s: %s", provider, e.Detail))
		}
	}
	if len(found) > 0 {
		return doctor.Bad(doctor.Warn, name, "everything else is shown and taken; restore what is named from a backup (provisioner restart <provider> after it), or live with the gap",
			"%s", strings.Join(found, "; "))
	}
	return doctor.Good(name, "nothing damaged has been met")
}

// within returns the files of a folder, whatever it is called, that match a good pattern.
func within(dir, pattern string) []string {
	names, _ := fs.Glob(os.DirFS(dir), pattern)
	for i := range names {
		names[i] = filepath.Join(dir, names[i])
	}
	return names
}

// ProgramsBeside returns the folder of the running program: the others are beside it.
func ProgramsBeside() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find the programs: %w", err)
	}
	return filepath.Dir(self), nil
}
