// Package assets holds the files that the browser loads: scripts and styles, built by `make assets` into dist and bundled
// into the program. It compiles without them, so that the code can be checked before they are built; Load then says so.
package assets

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"mime"
	"path"
	"strings"

	"berth/schema"
)

// The pattern takes in dist where it exists, and always matches this file.
//
//go:embed *
var embedded embed.FS

// Wanted are the files without which no page works.
var Wanted = []string{"berth.css", "berth.js", "chart.js", "logs.js", "htmx.min.js", "uplot.js", "uplot.css", "icon.svg"}

// File is a file as it is served.
type File struct {
	Name string
	Hash string // of its content: a part of its address, so that it can be kept for ever
	Type string // media type
	Data []byte
	Gzip []byte // the same compressed
}

// Path returns the path under which the file is served.
func (f *File) Path() string { return "/assets/" + f.Hash + "/" + f.Name }

// Files are the files by name.
type Files map[string]*File

// Load returns the bundled files, or Unavailable when they were not built.
func Load() (Files, error) {
	files := Files{}
	list, err := fs.ReadDir(embedded, "dist")
	if err != nil {
		return nil, notBuilt("dist").WithCause(err)
	}
	for _, e := range list {
		if e.IsDir() || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		data, err := embedded.ReadFile("dist/" + e.Name())
		if err != nil {
			return nil, fmt.Errorf("read asset %s: %w", e.Name(), err)
		}
		sum := sha256.Sum256(data)
		f := &File{Name: e.Name(), Hash: hex.EncodeToString(sum[:6]), Type: typeOf(e.Name()), Data: data}
		if f.Gzip, err = compressed(data); err != nil {
			return nil, fmt.Errorf("compress asset %s: %w", e.Name(), err)
		}
		files[f.Name] = f
	}
	for _, name := range Wanted {
		if files[name] == nil {
			return nil, notBuilt(name)
		}
	}
	return files, nil
}

// compressed returns data as gzip. It is done once, at the start.
func compressed(data []byte) ([]byte, error) {
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err == nil {
		_, err = w.Write(data)
	}
	if err == nil {
		err = w.Close()
	}
	return out.Bytes(), err
}

func notBuilt(what string) *schema.Error {
	return schema.Errorf(schema.Unavailable, "the program was built without what its pages load (%s is missing)", what).WithNext("run make build")
}

// typeOf names the media types itself where a machine's tables may differ.
func typeOf(name string) string {
	switch path.Ext(name) {
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	default:
		if t := mime.TypeByExtension(path.Ext(name)); t != "" {
			return t
		}
		return "application/octet-stream"
	}
}
