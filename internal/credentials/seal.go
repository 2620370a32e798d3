package credentials

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"berth/schema"
)

// SecretSize is the length of a secret that seals, in bytes.
const SecretSize = 32

// sealVersion begins what Seal returns: one byte, then a nonce of 12, then AES-256-GCM's ciphertext and tag.
const sealVersion = 1

// Seal returns plain encrypted and authenticated by the secret, which is SecretSize bytes long.
func Seal(secret, plain []byte) ([]byte, error) {
	aead, err := cipherOf(secret)
	if err != nil {
		return nil, err
	}
	sealed := make([]byte, 1+aead.NonceSize(), 1+aead.NonceSize()+len(plain)+aead.Overhead())
	sealed[0] = sealVersion
	_, _ = rand.Read(sealed[1:]) // it never returns an error
	return aead.Seal(sealed, sealed[1:], plain, sealed[:1]), nil
}

// PipelineSecret returns the secret that seals for a provider's ingest what it must read as it is: pre-shared keys, and passwords of
// brokers. It stays as long as the house's secret, whatever becomes of the ingest's credentials of NATS. It comes of the
// house's secret, which tells nothing of it to who has the other.
func PipelineSecret(house []byte, provider string) []byte {
	mac := hmac.New(sha256.New, house)
	_, _ = mac.Write([]byte("pre-shared keys of " + provider)) // as it was first named: they are stored; it never returns an error
	return mac.Sum(nil)
}

// Open returns what was sealed with the secret, or an Invalid error when it was sealed with another or was changed.
func Open(secret, sealed []byte) ([]byte, error) {
	aead, err := cipherOf(secret)
	if err != nil {
		return nil, err
	}
	head := 1 + aead.NonceSize()
	if len(sealed) < head || sealed[0] != sealVersion {
		return nil, schema.Errorf(schema.Invalid, "this is nothing that was sealed by this release")
	}
	plain, err := aead.Open(nil, sealed[1:head], sealed[head:], sealed[:1])
	if err != nil {
		return nil, schema.Errorf(schema.Invalid, "what was sealed cannot be opened: it was sealed with another secret, or changed").WithCause(err)
	}
	return plain, nil
}

func cipherOf(secret []byte) (cipher.AEAD, error) {
	if len(secret) != SecretSize {
		return nil, schema.Errorf(schema.Invalid, "a secret of %d bytes is not %d long", len(secret), SecretSize)
	}
	block, err := aes.NewCipher(secret)
	if err != nil {
		return nil, fmt.Errorf("make cipher: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("make cipher: %w", err)
	}
	return aead, nil
}

// LoadSecret returns the secret that the file at path holds. When there is no such file it makes one, readable by its
// owner alone, and syncs it before it returns; of several that start at once all get the same secret.
func LoadSecret(path string) ([]byte, error) {
	secret, err := readSecret(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return secret, err
	}
	if err := makeSecret(path); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("make secret %s: %w", path, err)
	}
	return readSecret(path)
}

func readSecret(path string) ([]byte, error) {
	secret, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read secret: %w", err)
	}
	if len(secret) != SecretSize {
		return nil, schema.Errorf(schema.Invalid, "the secret in %s is %d bytes, not %d", path, len(secret), SecretSize).
			WithNext("restore the file from a backup; what was sealed with it cannot be opened by a new one")
	}
	return secret, nil
}

// makeSecret writes a new secret beside path and links it there, so that path never holds half of one.
func makeSecret(path string) (err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".secret-*") // 0600
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(f.Name())) }()
	var secret [SecretSize]byte
	_, _ = rand.Read(secret[:]) // it never returns an error
	_, err = f.Write(secret[:])
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
