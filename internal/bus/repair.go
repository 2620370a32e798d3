package bus

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/minio/highwayhash"

	"berth/internal/durable"
)

// A message whose bytes have rotted would cost more than itself: when the server reads a stream's files anew it cuts each
// off at the first record whose checksum is wrong, and so loses all that follow it there, up to 8 MB that were
// acknowledged. So before the server starts, such records are taken out of their files; a stream takes what is missing for
// deleted, and the rest stays.
//
// A file of a stream is a row of records, as nats-server v2.15 writes them (server/filestore.go):
//
//	length   4  with the highest bit set when there are headers
//	sequence 8  with bits that say that it was erased, or is the mark of a deletion
//	time     8
//	subject  2  its length
//	subject, headers (their length first), data
//	checksum 8  HighwayHash of all but the lengths; its key is made of the stream's name and the file's number
const (
	recordHead     = 4 + 8 + 8 + 2
	recordChecksum = 8
	recordHeaders  = 1 << 31
	recordMost     = 32 << 20
)

// repair takes rotten records out of all streams' files below dir. They are kept below dir/rotten.
func repair(dir string, log *slog.Logger) error {
	files, err := filepath.Glob(filepath.Join(dir, "jetstream", "*", "streams", "*", "msgs", "*.blk"))
	if err != nil {
		return fmt.Errorf("look for the streams' files: %w", err)
	}
	for _, path := range files {
		if err := repairFile(dir, path, log); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("repair %s: %w", path, err)
		}
	}
	return nil
}

func repairFile(dir, path string, log *slog.Logger) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	folder := filepath.Dir(path)
	stream := filepath.Base(filepath.Dir(folder))
	number := strings.TrimSuffix(filepath.Base(path), ".blk")
	good, rotten := sift(data, stream+"-"+number)
	if len(rotten) == 0 {
		return nil
	}
	aside := filepath.Join(dir, "rotten", filepath.Base(filepath.Dir(filepath.Dir(filepath.Dir(folder))))+"-"+stream+"-"+number)
	if err := durable.Mkdir(filepath.Dir(aside), 0o700); err != nil {
		return err
	}
	for i, r := range rotten {
		if err := durable.WriteFile(fmt.Sprintf("%s-%d", aside, i), r); err != nil {
			return err
		}
	}
	if err := durable.WriteFile(path, bytes.Join(good, nil)); err != nil {
		return err
	}
	// What the server noted of the stream is of the file as it was: it reads the files anew.
	if err := os.Remove(filepath.Join(folder, "index.db")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	log.Error("messages of a stream have rotted on the disk and were taken out; the rest of it is as it was",
		"stream", stream, "file", path, "messages", len(rotten), "kept", aside+"-*")
	return nil
}

// sift parts a file's bytes into stretches of good records and rotten bytes between them. What follows the last good
// record is not rotten but torn, and so is what was never written while what follows it was: it was under way when the
// power went, and is left to the server with all behind it. A file without any good record is left alone too: it may be of
// another kind.
func sift(data []byte, name string) (good, rotten [][]byte) {
	key := sha256.Sum256([]byte(name))
	begin, bad := 0, -1 // of the good stretch, and of the rotten bytes after it
	for at := 0; at+recordHead+recordChecksum <= len(data); {
		length := goodRecord(data[at:], key[:])
		switch {
		case length > 0 && bad >= 0 && torn(data[bad:at]):
			return append(good, data[begin:]), rotten
		case length > 0 && bad >= 0:
			good, rotten = append(good, data[begin:bad]), append(rotten, data[bad:at])
			begin, bad = at, -1
			at += length
		case length > 0:
			at += length
		default:
			if bad < 0 {
				bad = at
			}
			at++
		}
	}
	return append(good, data[begin:]), rotten
}

// torn reports whether some of the bytes were never written: those are zeros.
func torn(data []byte) bool {
	zeros := make([]byte, 512)
	return bytes.HasPrefix(data, zeros[:recordChecksum]) || bytes.HasSuffix(data, zeros[:recordChecksum]) || bytes.Contains(data, zeros)
}

// goodRecord returns the length of the record that data begins with, 0 if it begins with none.
func goodRecord(data []byte, key []byte) int {
	length := binary.LittleEndian.Uint32(data)
	subject := int(binary.LittleEndian.Uint16(data[recordHead-2:]))
	headers := length&recordHeaders != 0
	length &^= recordHeaders
	rest := subject
	if headers {
		rest += 4
	}
	if length > recordMost || int(length) > len(data) || int(length) < recordHead+rest+recordChecksum {
		return 0
	}
	record := data[:length]
	body := record[recordHead : int(length)-recordChecksum]
	hash, err := highwayhash.New64(key)
	if err != nil {
		return 0
	}
	_, _ = hash.Write(record[4:20])   // it never returns an error
	_, _ = hash.Write(body[:subject]) // nor here
	_, _ = hash.Write(body[rest:])    // nor here
	if !bytes.Equal(hash.Sum(nil), record[int(length)-recordChecksum:]) {
		return 0
	}
	return int(length)
}
