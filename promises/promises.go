// Package promises holds a test for each promise that Berth makes, by its name, against the real programs.
package promises
