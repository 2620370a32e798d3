package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"

	"berth/internal/durable"
	"berth/schema"
)

// Names of the accounts' users.
const (
	userProvisioner = "provisioner"
	userPipeline    = "pipeline"
	userWeb         = "web"
	userSystem      = "system"
)

const (
	authorityVersion = 1
	accountSuffix    = ".json"
	// resolverSync is how often servers of a cluster compare the accounts that they know.
	resolverSync = time.Minute
)

// Authority holds the keys from which all accounts and users come: an operator, its system account, the house's account
// and an account per provider. They are kept in a directory, one file per account, so that accounts and credentials
// stay what they were over restarts.
//
//	<dir>/authority.json          the operator, the system and the house account
//	<dir>/providers/<name>.json   a provider's account
//	<dir>/tls.json                what signs the certificates of NATS servers, made when it is first needed
//
// The files hold secrets: mode 0600, written aside, synced and renamed. Methods may be called concurrently.
type Authority struct {
	dir string

	mu   sync.Mutex // guards the files and what follows
	root rootFile
	feed *Conn // of the system account, on the server that must know of changes; nil while there is none
	// store is where the embedded server keeps streams, a folder for each account; empty while there is none.
	store string
}

type rootFile struct {
	Version  int      `json:"version"`
	Operator identity `json:"operator"`
	System   account  `json:"system"`
	House    account  `json:"house"`
}

// OpenAuthority reads the authority's keys from dir, or makes them.
func OpenAuthority(dir string) (*Authority, error) {
	if err := durable.Mkdir(filepath.Join(dir, "providers"), 0o700); err != nil {
		return nil, fmt.Errorf("make the authority's directory: %w", err)
	}
	a := &Authority{dir: dir}
	path := filepath.Join(dir, "authority.json")
	switch err := readJSON(path, &a.root); {
	case errors.Is(err, fs.ErrNotExist):
		a.root.Version = authorityVersion
	case err != nil:
		return nil, fmt.Errorf("read the authority: %w", err)
	case a.root.Version != authorityVersion:
		return nil, schema.Errorf(schema.Invalid, "%s has version %d, not %d", path, a.root.Version, authorityVersion).
			WithNext("run the release that wrote it")
	}
	changed, err := a.ensureRoot()
	if err != nil {
		return nil, fmt.Errorf("make the authority's keys: %w", err)
	}
	if changed {
		if err := writeJSON(path, &a.root); err != nil {
			return nil, fmt.Errorf("keep the authority: %w", err)
		}
	}
	return a, nil
}

func (a *Authority) ensureRoot() (changed bool, err error) {
	r := &a.root
	if err := r.Operator.ensureKey(nkeys.CreateOperator, &changed); err != nil {
		return false, err
	}
	if err := r.System.Key.ensureKey(nkeys.CreateAccount, &changed); err != nil {
		return false, err
	}
	operator, err := r.Operator.pair()
	if err != nil {
		return false, err
	}
	if r.Operator.JWT == "" {
		claims := jwt.NewOperatorClaims(r.Operator.Public)
		claims.Name = "berth"
		claims.SystemAccount = r.System.Key.Public
		if r.Operator.JWT, err = claims.Encode(operator); err != nil {
			return false, fmt.Errorf("sign the operator: %w", err)
		}
		changed = true
	}
	if err := r.System.ensure(operator, systemSpec, &changed); err != nil {
		return false, err
	}
	if err := r.House.ensure(operator, houseSpec, &changed); err != nil {
		return false, err
	}
	return changed, nil
}

// House returns the credentials of the house account's full user.
func (a *Authority) House() Credentials { return a.root.House.credentials(userProvisioner) }

// HouseKey returns the public key of the house account.
func (a *Authority) HouseKey() string { return a.root.House.Key.Public }

// Web returns the credentials of the house account's user for web: it reads all records, and writes sessions, links,
// tokens and services.
func (a *Authority) Web() Credentials { return a.root.House.credentials(userWeb) }

// System returns the credentials of the system account's user, which tells a server of new accounts.
func (a *Authority) System() Credentials { return a.root.System.credentials(userSystem) }

// Operator returns the operator's claims, for the configuration of a server of its own.
func (a *Authority) Operator() string { return a.root.Operator.JWT }

// Provider makes the account of a provider, or finds it, and returns the credentials of the provisioner's and the
// pipeline's user in it, and its public key. The same call returns the same credentials. The server knows the account
// when Provider returns.
func (a *Authority) Provider(name string) (provisioner, pipeline Credentials, key string, err error) {
	if err := schema.CheckProvider(name); err != nil {
		return nil, nil, "", err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	acc, changed, err := a.load(name)
	if err != nil {
		return nil, nil, "", fmt.Errorf("read the account of %s: %w", name, err)
	}
	operator, err := a.root.Operator.pair()
	if err != nil {
		return nil, nil, "", err
	}
	if err := acc.ensure(operator, providerSpec(name), &changed); err != nil {
		return nil, nil, "", fmt.Errorf("make the account of %s: %w", name, err)
	}
	if changed {
		if err := writeJSON(a.path(name), acc); err != nil {
			return nil, nil, "", fmt.Errorf("keep the account of %s: %w", name, err)
		}
	}
	if err := a.publish(acc); err != nil {
		return nil, nil, "", fmt.Errorf("tell the server of the account of %s: %w", name, err)
	}
	return acc.credentials(userProvisioner), acc.credentials(userPipeline), acc.Key.Public, nil
}

// Renew gives the pipeline of a provider another user: the credentials that it had are revoked, and whoever is connected by
// them is cut off. Provider returns the new ones from then on.
func (a *Authority) Renew(name string) error {
	if err := schema.CheckProvider(name); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	acc, fresh, err := a.load(name)
	if err != nil || fresh {
		return err // there is nothing to revoke
	}
	if acc.Revoked == nil {
		acc.Revoked = map[string]int64{}
	}
	// A revocation is of what was signed up to then; the new user has another key.
	acc.Revoked[acc.Users[userPipeline].Public] = time.Now().Add(time.Minute).Unix()
	delete(acc.Users, userPipeline)
	operator, err := a.root.Operator.pair()
	if err != nil {
		return err
	}
	changed := false
	if err := acc.ensure(operator, providerSpec(name), &changed); err != nil {
		return fmt.Errorf("renew the credentials of %s: %w", name, err)
	}
	if err := writeJSON(a.path(name), acc); err != nil {
		return fmt.Errorf("keep the account of %s: %w", name, err)
	}
	return a.publish(acc)
}

// Forget removes the account of a provider, or finds it gone; its users are disconnected. Whatever its streams still hold
// goes with it.
func (a *Authority) Forget(name string) error {
	if err := schema.CheckProvider(name); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	acc := &account{}
	if err := readJSON(a.path(name), acc); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return fmt.Errorf("read the account of %s: %w", name, err)
	}
	if err := a.clear(acc); err != nil {
		return fmt.Errorf("remove what the account of %s has left: %w", name, err)
	}
	if err := a.revoke(acc); err != nil {
		return fmt.Errorf("tell the server to forget the account of %s: %w", name, err)
	}
	if err := os.Remove(a.path(name)); err != nil {
		return fmt.Errorf("forget the account of %s: %w", name, err)
	}
	return durable.Sync(filepath.Dir(a.path(name)))
}

// SyncStreams makes the streams of an account, by its public key, survive a power cut, the streams that were made before
// it is called: nats-server syncs what it writes into their folders, but not the folders above, in which it makes them.
// It does nothing for a server of its own, which keeps its streams elsewhere.
func (a *Authority) SyncStreams(account string) error {
	a.mu.Lock()
	store := a.store
	a.mu.Unlock()
	if store == "" {
		return nil
	}
	folder := filepath.Join(store, account)
	err := durable.Sync(filepath.Dir(filepath.Dir(store)), filepath.Dir(store), store, folder, filepath.Join(folder, "streams"))
	if err != nil {
		return fmt.Errorf("keep the streams of account %s: %w", account, err)
	}
	return nil
}

// Feed tells a server of its own, over a connection of the system account, of all accounts, and from now on of every
// change. The server needs the operator's claims and a resolver that takes updates (resolver type full). It forgets all
// other accounts of the operator.
func (a *Authority) Feed(system *Conn) error {
	a.mu.Lock()
	a.feed = system
	err := a.publishAll()
	a.mu.Unlock()
	if err != nil {
		return err
	}
	return a.sweep()
}

// publishAll tells the server of all accounts. a.mu is held.
func (a *Authority) publishAll() error {
	all, err := a.all()
	if err != nil {
		return err
	}
	for _, acc := range all {
		if err := a.publish(acc); err != nil {
			return fmt.Errorf("tell the server of its accounts: %w", err)
		}
	}
	return nil
}

// sweep has the server forget accounts that the authority does not know: a server of a cluster that was away when one was
// removed brings it back, and with it the credentials of its users.
func (a *Authority) sweep() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.feed == nil {
		return nil
	}
	all, err := a.all()
	if err != nil {
		return err
	}
	known := map[string]bool{}
	for _, acc := range all {
		known[acc.Key.Public] = true
	}
	ctx, cancel := context.WithTimeout(context.Background(), requestLimit)
	defer cancel()
	msg, err := a.feed.nc.RequestWithContext(ctx, "$SYS.REQ.CLAIMS.LIST", nil)
	if err != nil {
		return failed("list the server's accounts", err)
	}
	var answer struct {
		Data []string `json:"data"`
	}
	if err := json.Unmarshal(msg.Data, &answer); err != nil {
		return fmt.Errorf("read the server's accounts: %w", err)
	}
	for _, key := range answer.Data {
		if known[key] {
			continue
		}
		a.feed.log.Warn("the nats server knows an account that was removed, and is told to forget it", "account", key)
		if err := a.revoke(&account{Key: identity{Public: key}}); err != nil {
			return fmt.Errorf("tell the server to forget account %s: %w", key, err)
		}
	}
	return nil
}

func (a *Authority) attach(system *Conn, store string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.feed, a.store = system, store
}

func (a *Authority) detach(system *Conn) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.feed == system {
		a.feed, a.store = nil, ""
	}
}

func (a *Authority) operatorJWT() string   { return a.root.Operator.JWT }
func (a *Authority) systemAccount() string { return a.root.System.Key.Public }

// resolver returns what tells an embedded server of accounts. Its directory is a copy, made anew each time.
func (a *Authority) resolver(dir string) (server.AccountResolver, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := freshDir(dir); err != nil {
		return nil, err
	}
	all, err := a.all()
	if err != nil {
		return nil, err
	}
	r, err := server.NewDirAccResolver(dir, math.MaxInt64, resolverSync, server.HardDelete)
	if err != nil {
		return nil, fmt.Errorf("open the accounts' directory: %w", err)
	}
	for _, acc := range all {
		if err := r.Store(acc.Key.Public, acc.Key.JWT); err != nil {
			r.Close()
			return nil, fmt.Errorf("keep account %s: %w", acc.Name, err)
		}
	}
	return r, nil
}

// all returns every account. a.mu is held.
func (a *Authority) all() ([]*account, error) {
	all := []*account{&a.root.System, &a.root.House}
	entries, err := os.ReadDir(filepath.Join(a.dir, "providers"))
	if err != nil {
		return nil, fmt.Errorf("list the providers' accounts: %w", err)
	}
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), accountSuffix)
		if !ok {
			continue
		}
		acc, _, err := a.load(name)
		if err != nil {
			return nil, fmt.Errorf("read the account of %s: %w", name, err)
		}
		if acc.Key.JWT != "" {
			all = append(all, acc)
		}
	}
	return all, nil
}

// load reads a provider's account; a new one is empty, and changed.
func (a *Authority) load(name string) (acc *account, changed bool, err error) {
	acc = &account{}
	switch err := readJSON(a.path(name), acc); {
	case errors.Is(err, fs.ErrNotExist):
		return acc, true, nil
	case err != nil:
		return nil, false, err
	}
	return acc, false, nil
}

func (a *Authority) path(name string) string {
	return filepath.Join(a.dir, "providers", name+accountSuffix)
}

// publish tells the server of an account. Without a server nothing is told: one that starts is told of all.
func (a *Authority) publish(acc *account) error {
	return a.request("$SYS.REQ.CLAIMS.UPDATE", acc.Key.JWT)
}

// clear has the server remove an account's folder of streams. It must go before the account does: a server that finds
// the folder asks for its account again and again, two seconds each time, whenever its health is asked for.
func (a *Authority) clear(acc *account) error {
	return a.request(fmt.Sprintf(server.JSApiAccountPurgeT, acc.Key.Public), "")
}

// revoke tells the server that an account is gone.
func (a *Authority) revoke(acc *account) error {
	if a.feed == nil {
		return nil
	}
	operator, err := a.root.Operator.pair()
	if err != nil {
		return err
	}
	claims := jwt.NewGenericClaims(a.root.Operator.Public)
	claims.Data["accounts"] = []string{acc.Key.Public}
	token, err := claims.Encode(operator)
	if err != nil {
		return fmt.Errorf("sign the removal: %w", err)
	}
	err = a.request("$SYS.REQ.CLAIMS.DELETE", token)
	if schema.Is(err, schema.NotFound) {
		return nil
	}
	return err
}

// request sends claims to the server and reads its verdict.
func (a *Authority) request(subject, token string) error {
	if a.feed == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	msg, err := a.feed.nc.RequestWithContext(ctx, subject, []byte(token))
	if err != nil {
		return failed("send claims", err)
	}
	var answer struct {
		Error *struct {
			Description string `json:"description"`
		} `json:"error"`
	}
	if err := json.Unmarshal(msg.Data, &answer); err != nil {
		return fmt.Errorf("read the server's answer to claims: %w", err)
	}
	if answer.Error == nil {
		return nil
	}
	code := schema.Internal
	if slices.ContainsFunc([]string{"no such file", "not found"}, func(s string) bool {
		return strings.Contains(answer.Error.Description, s)
	}) {
		code = schema.NotFound
	}
	return schema.Errorf(code, "the server refuses the claims: %s", answer.Error.Description)
}
