package world

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"path"
	"path/filepath"
	"strconv"
	"time"

	"berth/internal/bus"
	"berth/internal/credentials"
	"berth/provisioner/plan"
	"berth/provisioner/runtime"
	"berth/schema"
	"berth/schema/record"
)

// start starts an instance under a new ID.
func (w *World) start(ctx context.Context, s plan.Step) error {
	u := s.Unit
	spec := runtime.Spec{
		Name: u.Name(), Provider: u.Provider, Role: u.Role, ID: credentials.NewKey("")[:10], Hash: u.Hash(), Version: u.Version,
		Slot: u.Slot, Image: u.Image, Resources: runtime.Resources(u.Resources),
	}
	spec.Env = map[string]string{
		"BERTH_NATS": cmp.Or(w.o.Reached, w.o.NATS), "BERTH_HOST": u.Host, "BERTH_PORT_BASE": fmt.Sprint(u.PortBase),
		"BERTH_INSTANCE": spec.ID, "BERTH_SPEC": spec.Hash,
	}
	creds := w.o.Authority.Web()
	if u.Provider == "" {
		spec.Files = map[string][]byte{"BERTH_HOUSE_SECRET": w.o.Secret}
		if len(w.o.Mail) > 0 {
			spec.Files["BERTH_MAIL"] = w.o.Mail
		}
		if err := w.o.Front.tell(&spec); err != nil {
			return err
		}
	} else {
		var err error
		if _, creds, _, err = w.o.Authority.Provider(u.Provider); err != nil { //nolint:contextcheck // it has a limit of its own
			return fmt.Errorf("make credentials for %s: %w", spec.Name, err)
		}
		spec.Env["BERTH_PROVIDER"] = u.Provider
		if spec.Env["BERTH_KEYSPACES"], spec.Files, err = w.access(&s.Record); err != nil {
			return fmt.Errorf("let %s into its keyspace: %w", spec.Name, err)
		}
	}
	if spec.Files == nil {
		spec.Files = map[string][]byte{}
	}
	spec.Files["BERTH_CREDENTIALS"] = creds
	if u.Role == record.RoleIngest {
		spec.Files["BERTH_PIPELINE_SECRET"] = credentials.PipelineSecret(w.o.Secret, u.Provider)
	}
	maps.Copy(spec.Files, trustFiles(w.o.Trust))
	if err := w.place(&spec, u); err != nil {
		return err
	}
	// Noted before the start, since who observes meanwhile sees the instance before the start is over.
	w.note(spec.Name, func(k *known) { k.id, k.told = spec.ID, u.Resources })
	if err := w.o.Runtime.Start(ctx, spec); err != nil {
		return err
	}
	w.note(spec.Name, func(k *known) {
		k.starts++
		if s.Again {
			k.again++
		}
	})
	return nil
}

// place says where an instance listens, where it is reached, and which folders it has.
func (w *World) place(spec *runtime.Spec, u *plan.Unit) error {
	in := w.o.Inside
	switch {
	case u.Role == record.RoleIngest:
		spec.Ports = []runtime.Port{{Host: u.Host, Number: u.Slot.Port(u.PortBase), UDP: true}}
		spec.Env["BERTH_HOST"] = cmp.Or(in.Listen, u.Host)
	case u.Role == record.RoleReports && in.Listen != "":
		spec.Env["BERTH_LISTEN"], spec.Env["BERTH_ANNOUNCE"] = net.JoinHostPort(in.Listen, "0"), in.Network.String()
	case u.Role == record.RoleWeb:
		host, text, err := net.SplitHostPort(u.Listen)
		port, e := strconv.Atoi(text)
		if err := errors.Join(err, e); err != nil {
			return fmt.Errorf("read web's address: %w", err)
		}
		spec.Ports = []runtime.Port{{Host: host, Number: port}}
		spec.Env["BERTH_LISTEN"] = net.JoinHostPort(cmp.Or(in.Listen, host), text)
	}
	if w.o.Folder != "" && u.Keyspace != "" {
		spec.Folders = map[string]string{path.Join(in.Folders, u.Keyspace): filepath.Join(w.o.Folder, u.Keyspace)}
	}
	return nil
}

// trustFiles returns the secret files of a trust, as instances are given them.
func trustFiles(t bus.Trust) map[string][]byte {
	files := map[string][]byte{"BERTH_NATS_CA": t.CA, "BERTH_NATS_CERT": t.Cert, "BERTH_NATS_KEY": t.Key}
	maps.DeleteFunc(files, func(_ string, text []byte) bool { return len(text) == 0 })
	return files
}

// update changes what a running instance may use.
func (w *World) update(ctx context.Context, u *plan.Unit) error {
	i, err := w.instance(ctx, u.Name())
	if err != nil {
		return err
	}
	if err := w.o.Runtime.Update(ctx, u.Name(), runtime.Resources(u.Resources)); err != nil {
		return err
	}
	w.note(u.Name(), func(k *known) { k.id, k.told = i.ID, u.Resources })
	return nil
}

// halt stops an instance that its runtime starts again and again, and remembers as what it was stopped.
func (w *World) halt(ctx context.Context, name string) error {
	i, err := w.instance(ctx, name)
	if err != nil {
		return err
	}
	if err := w.o.Runtime.Stop(ctx, name, runtime.StopOptions{}); err != nil {
		return err
	}
	w.note(name, func(k *known) {
		if k.halted != nil && k.halted.Hash == i.Hash { // once more: it is the same loop
			i.Failing = k.halted.Failing
			i.Failures = max(i.Failures, k.halted.Failures)
		}
		k.halted = &plan.Halted{Instance: i, At: time.Now()}
	})
	return nil
}

// instance returns the named instance, or NotFound.
func (w *World) instance(ctx context.Context, name string) (runtime.Instance, error) {
	instances, err := w.o.Runtime.Instances(ctx)
	if err != nil {
		return runtime.Instance{}, fmt.Errorf("list instances: %w", err)
	}
	for _, i := range instances {
		if i.Name == name {
			return i, nil
		}
	}
	return runtime.Instance{}, schema.Errorf(schema.NotFound, "%s does not run", name)
}

// note takes note of something about an instance.
func (w *World) note(name string, fn func(*known)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	fn(w.knownOf(name))
}

// knownOf returns what is known of an instance. World.mu is held.
func (w *World) knownOf(name string) *known {
	k := w.known[name]
	if k == nil {
		k = &known{}
		w.known[name] = k
	}
	return k
}

// wellAfter is how long an instance must have run for its crash loop to be over.
const wellAfter = 30 * time.Second

// remember adds to a state what is known of its instances from before. World.mu is held.
func (w *World) remember(provider string, state *plan.State) {
	state.Told, state.Halted = map[string]record.Resources{}, map[string]plan.Halted{}
	for _, role := range append(plan.Roles(), record.RoleWeb) {
		i, ok := state.Instances[role]
		name := plan.Unit{Provider: provider, Role: role}.Name()
		if !ok && w.known[name] == nil {
			continue
		}
		k := w.knownOf(name)
		if ok && k.seen != i.ID {
			k.seen, k.own, k.before = i.ID, 0, k.before+k.own
		}
		if ok {
			k.own = i.Restarts
		}
		if ok && i.ID == k.id {
			state.Told[role] = k.told
		}
		if ok && i.State == runtime.Running && i.Failures == 0 && time.Since(i.Started) > wellAfter {
			k.halted = nil
		}
		if k.halted != nil {
			state.Halted[role] = *k.halted
		}
	}
}

// Starts returns how often an instance has been started since the provisioner's own start, by its runtime too, and how often
// of these since it had ended, or hung, by itself.
func (w *World) Starts(provider, role string) (all, again int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if k := w.known[plan.Unit{Provider: provider, Role: role}.Name()]; k != nil {
		own := k.before + k.own
		return k.starts + own, k.again + own
	}
	return 0, 0
}

// Instances returns the installation's instances.
func (w *World) Instances(ctx context.Context) ([]runtime.Instance, error) {
	return w.o.Runtime.Instances(ctx)
}
