package export

import (
	"io"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"

	"berth/schema"
)

// parquetRow is a reading as a row of Parquet. The value is in the column of its kind; the others are null.
type parquetRow struct {
	Gateway string   `parquet:"gateway,dict"`
	Sensor  string   `parquet:"sensor,dict"`
	Time    int64    `parquet:"time,timestamp(nanosecond),delta"` // UTC
	Kind    string   `parquet:"kind,dict"`
	Float   *float64 `parquet:"value_float,optional"`
	Int     *int64   `parquet:"value_int,optional"`
	Bool    *bool    `parquet:"value_bool,optional"`
	Text    *string  `parquet:"value_text,optional"`
}

// Rows are handed on a group at a time, which is what is held in memory; a file's end, held too, has an entry for each
// group.
const (
	rowsInGroup = 256 << 10
	rowsAtOnce  = 1 << 10
)

type parquetWriter struct {
	out   *parquet.GenericWriter[parquetRow]
	rows  []parquetRow
	texts []string
	nums  []number
}

// number is where the values of a row lie that the row points to.
type number struct {
	float float64
	int   int64
	bool  bool
}

func newParquet(w io.Writer, o Options) (Writer, error) { //nolint:iface // what the table of formats holds
	options := []parquet.WriterOption{
		parquet.Compression(&zstd.Codec{Level: zstd.SpeedFastest}), parquet.MaxRowsPerRowGroup(rowsInGroup),
		parquet.CreatedBy("berth", "1", ""), parquet.KeyValueMetadata("berth.timezone", clockOf(o).zone.String()),
	}
	for key, value := range o.Info {
		options = append(options, parquet.KeyValueMetadata("berth."+key, value))
	}
	return &parquetWriter{
		out:  parquet.NewGenericWriter[parquetRow](w, options...),
		rows: make([]parquetRow, 0, rowsAtOnce), texts: make([]string, rowsAtOnce), nums: make([]number, rowsAtOnce),
	}, nil
}

// Reading adds a row.
func (p *parquetWriter) Reading(gateway, sensor string, t int64, v schema.Value) error {
	n := len(p.rows)
	row, num := parquetRow{Gateway: gateway, Sensor: sensor, Time: t, Kind: v.Kind().String()}, &p.nums[n]
	switch v.Kind() {
	case schema.Float:
		num.float = v.Float()
		row.Float = &num.float
	case schema.Int:
		num.int = v.Int()
		row.Int = &num.int
	case schema.Bool:
		num.bool = v.Bool()
		row.Bool = &num.bool
	case schema.Text:
		p.texts[n] = v.Text()
		row.Text = &p.texts[n]
	}
	if p.rows = append(p.rows, row); len(p.rows) < rowsAtOnce {
		return nil
	}
	return p.write()
}

// write hands the rows to the writer, which copies them.
func (p *parquetWriter) write() error {
	_, err := p.out.Write(p.rows)
	p.rows = p.rows[:0]
	return err
}

// Flush has nothing to hand on: a group that is not full would make the file large.
func (p *parquetWriter) Flush() error { return nil }

// Close writes the last group and the file's end, which holds info.
func (p *parquetWriter) Close(info map[string]string) error {
	if err := p.write(); err != nil {
		return err
	}
	for key, value := range info {
		p.out.SetKeyValueMetadata("berth."+key, value)
	}
	return p.out.Close()
}
