package pgstore

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/xacam/xacam/events"
)

// Channels of NOTIFY.
const (
	eventChannel  = "xacam_event"
	cameraChannel = "xacam_camera"
)

// Commit stores changes in one transaction: all or none. They get the next
// sequence numbers in the order given. A change that is stored already is
// skipped, so a batch may be offered again after an error; so is a raised that
// comes after its own cleared. A cleared whose raised never came is stored
// whole. The caller's events are not modified.
//
// An error that wraps events.ErrUnavailable says that it may be tried again;
// after a broken connection it may even have been stored. Any other error says
// that the database refuses some change of the batch.
func (s *Store) Commit(ctx context.Context, changes []events.Change) error {
	const attempted = "commit events"
	b, err := newBatch(changes)
	if err != nil || b == nil {
		return classify(attempted, err)
	}
	for attempt := 1; ; attempt++ {
		err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
			last, at, known, err := lockAndLook(ctx, tx, b.ids)
			if err != nil {
				return err
			}
			b.number(last, at, known)
			if err := b.write(ctx, tx); err != nil {
				return err
			}
			return s.enqueue(ctx, tx, at, b.said)
		})
		if !collided(err) || attempt == maxAttempts {
			return classify(attempted, err)
		}
	}
}

// maxAttempts bounds how often Commit tries by itself after a collision.
const maxAttempts = 3

// step identifies a change that can happen once.
type step struct {
	ID   [16]byte
	Step string
}

// lockAndLook takes the counter, which serialises all committers until the end
// of the transaction, and then looks which changes are stored already. The
// order matters: a statement sees what was committed before it began, so the
// look must begin after the wait for the lock.
func lockAndLook(ctx context.Context, tx pgx.Tx, ids [][16]byte) (last int64, at time.Time, known map[step]bool, err error) {
	known = make(map[step]bool)
	batch := &pgx.Batch{}
	batch.Queue("SELECT last FROM event_sequence FOR UPDATE").QueryRow(func(row pgx.Row) error { return row.Scan(&last) })
	batch.Queue("SELECT clock_timestamp()").QueryRow(func(row pgx.Row) error { return row.Scan(&at) })
	batch.Queue("SELECT event_id AS id, step FROM event_change WHERE event_id = ANY(@ids) AND step IN ('raised', 'cleared')", pgx.StrictNamedArgs{"ids": ids}).
		Query(func(rows pgx.Rows) error {
			found, err := pgx.CollectRows(rows, pgx.RowToStructByName[step])
			for _, f := range found {
				known[f] = true
			}
			return err
		})
	err = tx.SendBatch(ctx, batch).Close()
	return last, at, known, err
}

// batch is what one transaction writes, checked and encoded before it begins.
type batch struct {
	steps []step
	input []row // parallel to steps
	ids   [][16]byte

	last    int64
	at      time.Time
	changes columnsOfChange
	rows    map[[16]byte]row // the latest fresh state of each event
	order   [][16]byte       // keys of rows, first seen first
	said    []said           // the fresh changes, for whoever wants to hear of them
}

// row is an event ready for the database.
type row struct {
	e                   *events.Event
	id                  [16]byte
	subject, attributes []byte
	sequence            int64
}

type columnsOfChange struct {
	sequences   []int64
	ids         [][16]byte
	occurredAts []time.Time
	states      []string
}

// newBatch checks and encodes; nil when there is nothing to write.
func newBatch(changes []events.Change) (*batch, error) {
	if len(changes) == 0 {
		return nil, nil //nolint:nilnil // nothing to write is no error
	}
	b := &batch{}
	for i := range changes {
		e := &changes[i].Event
		r, err := newRow(e)
		if err != nil {
			return nil, &refusedError{fmt.Sprintf("event %q: %v", e.ID, err)}
		}
		b.steps = append(b.steps, step{r.id, string(e.State)})
		b.input = append(b.input, r)
		b.ids = append(b.ids, r.id)
	}
	return b, nil
}

func newRow(e *events.Event) (row, error) {
	id, err := parseID(e.ID)
	if err != nil {
		return row{}, err
	}
	if y := e.OccurredAt.Year(); y < 1 || y > 9999 {
		return row{}, fmt.Errorf("occurred_at: year %d is outside 1 to 9999", y)
	}
	if want := max(0, e.OccurredAt.UnixMilli()); millisOf(id) != want {
		return row{}, fmt.Errorf("occurred_at: %d ms, but the identifier says %d ms", want, millisOf(id))
	}
	if e.Rule.Version > math.MaxInt32 {
		return row{}, fmt.Errorf("rule version: %d is too large", e.Rule.Version)
	}
	if !e.ClearedAt.IsZero() && e.ClearedAt.Year() > 9999 {
		return row{}, fmt.Errorf("cleared_at: year %d is after 9999", e.ClearedAt.Year())
	}
	r := row{e: e, id: id, attributes: []byte("{}")}
	if e.Subject != nil {
		if r.subject, err = json.Marshal(e.Subject); err != nil {
			return row{}, fmt.Errorf("subject: %w", err)
		}
	}
	if e.Attributes != nil {
		if r.attributes, err = json.Marshal(e.Attributes); err != nil {
			return row{}, fmt.Errorf("attributes: %w", err)
		}
	}
	return r, nil
}

// number gives the fresh changes their sequence numbers and finds what each
// event becomes.
func (b *batch) number(last int64, at time.Time, known map[step]bool) {
	b.last, b.at = last, at
	b.changes, b.rows, b.order, b.said = columnsOfChange{}, make(map[[16]byte]row, len(b.ids)), nil, nil
	for i, st := range b.steps {
		if known[st] || known[step{st.ID, string(events.StateCleared)}] {
			continue
		}
		known[st] = true
		b.last++
		r := b.input[i]
		r.sequence = b.last
		b.changes.sequences = append(b.changes.sequences, b.last)
		b.changes.ids = append(b.changes.ids, st.ID)
		b.changes.occurredAts = append(b.changes.occurredAts, r.e.OccurredAt)
		b.changes.states = append(b.changes.states, st.Step)
		ev := *r.e
		ev.Sequence, ev.ReceivedAt = b.last, at
		b.said = append(b.said, said{step: events.Step(st.Step), event: ev})
		if _, ok := b.rows[st.ID]; !ok {
			b.order = append(b.order, st.ID)
		}
		b.rows[st.ID] = r
	}
}

// write queues everything into one round trip.
func (b *batch) write(ctx context.Context, tx pgx.Tx) error {
	q := &pgx.Batch{}
	if len(b.order) > 0 {
		q.Queue(insertChanges, pgx.StrictNamedArgs{
			"sequences": b.changes.sequences, "ids": b.changes.ids,
			"occurred_ats": b.changes.occurredAts, "states": b.changes.states, "at": b.at,
		})
		q.Queue(upsertEvents, b.eventArgs())
		q.Queue("UPDATE event_sequence SET last = @last", pgx.StrictNamedArgs{"last": b.last})
		q.Queue("SELECT pg_notify('" + eventChannel + "', '')")
	}
	if args, ok := b.evidenceArgs(); ok {
		q.Queue(insertEvidence, args)
	}
	if q.Len() == 0 {
		return nil
	}
	return tx.SendBatch(ctx, q).Close()
}

const insertChanges = `
	INSERT INTO event_change (sequence, event_id, occurred_at, state, step, committed_at)
	SELECT sequence, id, occurred_at, state, state, @at
	FROM unnest(@sequences::bigint[], @ids::uuid[], @occurred_ats::timestamptz[], @states::text[]) AS t (sequence, id, occurred_at, state)`

const insertEvidence = `
	INSERT INTO evidence (event_id, ordinal, type, path, sha256, bytes)
	SELECT * FROM unnest(@ids::uuid[], @ordinals::int[], @types::text[], @paths::text[], @sums::text[], @sizes::bigint[])
	ON CONFLICT (event_id, path) DO NOTHING`

// upsertEvents keeps received_at and what people did with the event.
const upsertEvents = `
	INSERT INTO event (id, occurred_at, cleared_at, received_at, sequence, kind, state, severity,
		source_type, source_id, source_name, hamlet, commune, lat, lon, zone,
		rule_name, rule_version, object, subject, why_vi, why_en, attributes)
	SELECT id, occurred_at, cleared_at, @at, sequence, kind, state, severity,
		source_type, source_id, source_name, hamlet, commune, lat, lon, zone,
		rule_name, rule_version, object, subject::jsonb, why_vi, why_en, attributes::jsonb
	FROM unnest(@ids::uuid[], @occurred_ats::timestamptz[], @cleared_ats::timestamptz[], @sequences::bigint[],
		@kinds::text[], @states::text[], @severities::text[],
		@source_types::text[], @source_ids::text[], @source_names::text[], @hamlets::text[], @communes::text[],
		@lats::float8[], @lons::float8[], @zones::text[], @rule_names::text[], @rule_versions::int[],
		@objects::text[], @subjects::text[], @why_vis::text[], @why_ens::text[], @attributes::text[])
	AS t (id, occurred_at, cleared_at, sequence, kind, state, severity,
		source_type, source_id, source_name, hamlet, commune, lat, lon, zone,
		rule_name, rule_version, object, subject, why_vi, why_en, attributes)
	ON CONFLICT (id, occurred_at) DO UPDATE SET
		cleared_at = excluded.cleared_at, sequence = excluded.sequence, state = excluded.state,
		severity = excluded.severity, subject = excluded.subject,
		why_vi = excluded.why_vi, why_en = excluded.why_en, attributes = excluded.attributes`

// column collects one value of every fresh event.
func column[T any](b *batch, value func(r row) T) []T {
	out := make([]T, len(b.order))
	for i, id := range b.order {
		out[i] = value(b.rows[id])
	}
	return out
}

func (b *batch) eventArgs() pgx.StrictNamedArgs {
	text := func(value func(e *events.Event) string) []string {
		return column(b, func(r row) string { return value(r.e) })
	}
	return pgx.StrictNamedArgs{
		"at":            b.at,
		"ids":           b.order,
		"occurred_ats":  column(b, func(r row) time.Time { return r.e.OccurredAt }),
		"cleared_ats":   column(b, func(r row) *time.Time { return timeOrNil(r.e.ClearedAt) }),
		"sequences":     column(b, func(r row) int64 { return r.sequence }),
		"kinds":         text(func(e *events.Event) string { return string(e.Kind) }),
		"states":        text(func(e *events.Event) string { return string(e.State) }),
		"severities":    text(func(e *events.Event) string { return string(e.Severity) }),
		"source_types":  text(func(e *events.Event) string { return e.Source.Type }),
		"source_ids":    text(func(e *events.Event) string { return e.Source.ID }),
		"source_names":  text(func(e *events.Event) string { return e.Source.Name }),
		"hamlets":       text(func(e *events.Event) string { return e.Source.Hamlet }),
		"communes":      text(func(e *events.Event) string { return e.Place.Commune }),
		"lats":          column(b, func(r row) *float64 { return r.e.Place.Lat }),
		"lons":          column(b, func(r row) *float64 { return r.e.Place.Lon }),
		"zones":         text(func(e *events.Event) string { return e.Zone }),
		"rule_names":    text(func(e *events.Event) string { return e.Rule.Name }),
		"rule_versions": column(b, func(r row) int64 { return int64(r.e.Rule.Version) }),
		"objects":       text(func(e *events.Event) string { return e.Object }),
		"subjects":      column(b, func(r row) *string { return textOrNil(r.subject) }),
		"why_vis":       text(func(e *events.Event) string { return e.Why.VI }),
		"why_ens":       text(func(e *events.Event) string { return e.Why.EN }),
		"attributes":    column(b, func(r row) string { return string(r.attributes) }),
	}
}

// evidenceArgs lists the evidence of all changes, known ones too: it may have
// been added between two offers of the same change.
func (b *batch) evidenceArgs() (pgx.StrictNamedArgs, bool) {
	var ids [][16]byte
	var ordinals, sizes []int64
	var types, paths, sums []string
	for _, r := range b.input {
		for i, ev := range r.e.Evidence {
			ids, ordinals, sizes = append(ids, r.id), append(ordinals, int64(i)), append(sizes, ev.Bytes)
			types, paths, sums = append(types, ev.Type), append(paths, ev.Path), append(sums, ev.SHA256)
		}
	}
	return pgx.StrictNamedArgs{
		"ids": ids, "ordinals": ordinals, "types": types, "paths": paths, "sums": sums, "sizes": sizes,
	}, len(ids) > 0
}

func timeOrNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func textOrNil(b []byte) *string {
	if b == nil {
		return nil
	}
	s := string(b)
	return &s
}

// parseID reads a UUID in its usual form, 36 characters.
func parseID(s string) (id [16]byte, err error) {
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return id, fmt.Errorf("identifier %q is not a UUID", s)
	}
	digits := strings.ReplaceAll(s, "-", "")
	if len(digits) != 2*len(id) {
		return id, fmt.Errorf("identifier %q is not a UUID", s)
	}
	if _, err := hex.Decode(id[:], []byte(digits)); err != nil {
		return id, fmt.Errorf("identifier %q is not a UUID", s)
	}
	return id, nil
}

// formatID is the inverse of parseID.
func formatID(id [16]byte) string {
	s := hex.EncodeToString(id[:])
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}

// millisOf returns the time of a UUIDv7 in milliseconds since 1970.
func millisOf(id [16]byte) int64 {
	var ms int64
	for _, b := range id[:6] {
		ms = ms<<8 | int64(b)
	}
	return ms
}
