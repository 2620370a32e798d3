package bus

import (
	"context"
	"strconv"

	"berth/schema"
)

// A log that goes on while the keyspace cannot be asked may turn out to be an older copy: what it took since is below
// positions that the keyspace has. So the first claim of that kind is noted, before anything is accepted after it, until
// the keyspace has been asked; however many instances come and go meanwhile.
const uncheckedKey = "log.unchecked"

// Unchecked returns the sequence of the first claim since which the log goes on without the keyspace having been asked; 0
// when there is none.
func (l *Log) Unchecked(ctx context.Context) (uint64, error) { return l.number(ctx, uncheckedKey) }

// SetUnchecked notes the claim, unless an earlier one is noted.
func (l *Log) SetUnchecked(ctx context.Context, claim uint64) error {
	ctx, cancel := context.WithTimeout(ctx, requestLimit)
	defer cancel()
	bucket, err := l.marks(ctx)
	if err != nil {
		return err
	}
	if _, err = bucket.Create(ctx, uncheckedKey, strconv.AppendUint(nil, claim, 10)); schema.Is(err, schema.Conflict) {
		return nil
	}
	return err
}

// Checked notes that the keyspace has been asked.
func (l *Log) Checked(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, requestLimit)
	defer cancel()
	bucket, err := l.marks(ctx)
	if err != nil {
		return err
	}
	return bucket.Delete(ctx, uncheckedKey)
}
