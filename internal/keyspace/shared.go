package keyspace

import (
	"strings"
	"time"

	"berth/schema"
)

// shared begins the names of keyspaces of which several share one of the backend's.
const shared = "shared/"

// Shared returns the name of a provider's keyspace among others in a shared one. When it was made is part of it: nothing of
// one that was removed is in the next.
func Shared(provider string, made time.Time) string {
	return shared + provider + "/" + made.UTC().Format("20060102T150405.000000000")
}

// CutShared returns the provider of a keyspace's name and, if that is one of a shared keyspace, when it was made. The
// provider of a name that is neither is none.
func CutShared(name string) (provider, made string, ok bool) {
	rest, ok := strings.CutPrefix(name, shared)
	if !ok {
		return name, "", false
	}
	provider, made, ok = strings.Cut(rest, "/")
	if !ok || made == "" || strings.Trim(made, "0123456789T.") != "" || schema.CheckProvider(provider) != nil {
		return "", "", true
	}
	return provider, made, true
}
