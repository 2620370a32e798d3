// Package imports holds no code: its test reads every file's imports and keeps the import table, so that rooms stay
// apart and each large dependency stays behind one package.
package imports
