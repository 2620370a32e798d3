// Package version names the release that a program was built from.
package version

// Version is set at link time; "dev" is a build without it.
var Version = "dev"
