package pgstore

import (
	"context"
	"errors"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/outbox"
)

// Limits of what is kept of an answer.
const (
	maxErrorRunes   = 500
	maxExcerptRunes = 1024
)

// clean makes a foreign text fit for the database: valid UTF-8 without NUL, at
// most so many characters.
func clean(s string, runes int) string {
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
	if utf8.RuneCountInString(s) > runes {
		s = string([]rune(s)[:runes-1]) + "…"
	}
	return s
}

func errorsIsNoRows(err error) bool { return errors.Is(err, pgx.ErrNoRows) }

// attemptColumns are rows of attempt by column.
type attemptColumns struct {
	endpoints, kinds, messages, outcomes, errors, excerpts []string
	sequences                                              []*int64
	numbers, millis, statuses                              []int32
	retries                                                []*int32
	starts                                                 []time.Time
}

func (c *attemptColumns) add(a *outbox.Attempt) {
	r := &a.Result
	c.endpoints, c.kinds, c.messages = append(c.endpoints, a.Endpoint), append(c.kinds, string(a.Kind)), append(c.messages, a.MessageID)
	c.outcomes, c.errors = append(c.outcomes, string(r.Outcome)), append(c.errors, errorText(r.Err))
	c.excerpts = append(c.excerpts, clean(r.Excerpt, maxExcerptRunes))
	var sequence *int64
	if a.Sequence != 0 {
		sequence = &a.Sequence
	}
	var retry *int32
	if r.RetryAfter > 0 {
		seconds := int32(math.Ceil(min(r.RetryAfter.Seconds(), math.MaxInt32)))
		retry = &seconds
	}
	c.sequences, c.retries, c.starts = append(c.sequences, sequence), append(c.retries, retry), append(c.starts, r.Started)
	c.numbers = append(c.numbers, int32(min(max(a.Number, 1), math.MaxInt32)))            //nolint:gosec // bounded
	c.millis = append(c.millis, int32(min(max(r.Took.Milliseconds(), 0), math.MaxInt32))) //nolint:gosec // bounded
	c.statuses = append(c.statuses, int32(min(max(r.Status, 0), 999)))                    //nolint:gosec // bounded
}

// queueAttempts appends lines to the log.
func queueAttempts(b *pgx.Batch, attempts []outbox.Attempt) {
	if len(attempts) == 0 {
		return
	}
	var c attemptColumns
	for i := range attempts {
		c.add(&attempts[i])
	}
	b.Queue(`
		INSERT INTO attempt (endpoint, kind, message_id, sequence, number, started_at, milliseconds, status, outcome, error, excerpt, retry_after)
		SELECT * FROM unnest(@endpoints::text[], @kinds::text[], @messages::text[], @sequences::bigint[], @numbers::int[], @starts::timestamptz[],
			@millis::int[], @statuses::int[], @outcomes::text[], @errors::text[], @excerpts::text[], @retries::int[])`,
		pgx.StrictNamedArgs{
			"endpoints": c.endpoints, "kinds": c.kinds, "messages": c.messages, "sequences": c.sequences, "numbers": c.numbers,
			"starts": c.starts, "millis": c.millis, "statuses": c.statuses, "outcomes": c.outcomes, "errors": c.errors,
			"excerpts": c.excerpts, "retries": c.retries,
		})
}

// testAction names a test in what is remembered of requests; it changes nothing,
// so the audit chain has no entry of it.
const testAction = "endpoint.test"

// BeginTest returns an endpoint that is to be tested, see outbox.Test. While
// another request with its key is on the way, an error wraps events.ErrConflict.
// What was sent is to be given to LogAttempt; without that the key is free again
// after some minutes.
func (s *Store) BeginTest(ctx context.Context, name string, act outbox.Act) (t outbox.Test, err error) {
	attempted := "test endpoint " + name
	if t.Endpoint, err = s.endpoint(ctx, s.pool, name); err != nil {
		return t, classify(attempted, err)
	}
	var done int64
	var repeated bool
	err = s.transact(ctx, func(tx pgx.Tx) error {
		var c claimed
		c, repeated, err = claim(ctx, tx, requestOf(testAction, name, act, nil), &done)
		t.Key, t.Claim = c.key, c.claim
		return err
	})
	if err == nil && repeated {
		t.Before, err = s.attempt(ctx, s.pool, done)
	}
	return t, classify(attempted, err)
}

// LogAttempt adds one attempt that belongs to no settlement, such as a test, and
// returns it with its number. It is the answer to the request for the test,
// unless that took so long that another one with its key was begun.
func (s *Store) LogAttempt(ctx context.Context, a outbox.Attempt, t outbox.Test) (logged outbox.Attempt, err error) {
	err = s.transact(ctx, func(tx pgx.Tx) error {
		b := &pgx.Batch{}
		queueAttempts(b, []outbox.Attempt{a})
		var id int64
		b.Queue("SELECT lastval()").QueryRow(func(row pgx.Row) error { return row.Scan(&id) })
		if err := tx.SendBatch(ctx, b).Close(); err != nil {
			return err
		}
		found, err := s.attempt(ctx, tx, id)
		if err != nil {
			return err
		}
		logged = *found
		c := claimed{key: t.Key, claim: t.Claim}
		if err := c.conclude(ctx, tx, id); err != errClaimLost { //nolint:errorlint // the very one
			return err
		}
		return nil
	})
	return logged, classify("log an attempt", err)
}

func (s *Store) attempt(ctx context.Context, q querier, id int64) (*outbox.Attempt, error) {
	rows, err := q.Query(ctx, selectAttempt+" WHERE a.id = @id", pgx.StrictNamedArgs{"id": id})
	if err != nil {
		return nil, err
	}
	row, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[attemptRow])
	if errorsIsNoRows(err) {
		err = events.ErrNotFound
	}
	a := row.attempt()
	return &a, err
}

// attemptRow is a row of attempt.
type attemptRow struct {
	ID           int64
	Endpoint     string
	Kind         outbox.AttemptKind
	MessageID    string
	Sequence     *int64
	Number       int
	StartedAt    time.Time
	Milliseconds int64
	Status       int
	Outcome      outbox.Outcome
	Error        string
	Excerpt      string
	RetryAfter   *int64
	Former       bool
}

// selectAttempt reads the log, which outlives the endpoints that it speaks of.
const selectAttempt = `SELECT a.*, NOT EXISTS (
	SELECT FROM endpoint e WHERE e.name = a.endpoint AND e.deleted_at IS NULL AND e.log_after < a.id) AS former FROM attempt a`

// Attempts returns one page of the log, newest first, also of endpoints that
// were deleted since. An EventID that is no
// UUID matches nothing.
func (s *Store) Attempts(ctx context.Context, f outbox.AttemptFilter) ([]outbox.Attempt, error) {
	const attempted = "list attempts"
	args := pgx.StrictNamedArgs{"limit": min(max(f.Limit, 1), maxPage)}
	var where []string
	add := func(on bool, condition, name string, value any) {
		if on {
			where, args[name] = append(where, condition), value
		}
	}
	add(f.Endpoint != "", "a.endpoint = @endpoint", "endpoint", f.Endpoint)
	add(f.MessageID != "", "a.message_id = @message", "message", f.MessageID)
	add(f.Outcome != "", "a.outcome = @outcome", "outcome", string(f.Outcome))
	add(f.Kind != "", "a.kind = @kind", "kind", string(f.Kind))
	add(!f.From.IsZero(), "a.started_at >= @from", "from", f.From)
	add(!f.To.IsZero(), "a.started_at < @to", "to", f.To)
	add(f.Before != 0, "a.id < @before", "before", f.Before)
	if f.EventID != "" {
		// The name of a message begins with that of its event, see outbox.MessageID;
		// the log outlives the messages.
		id, err := parseID(f.EventID)
		if err != nil {
			return nil, nil //nolint:nilerr // nothing can be about it
		}
		names, err := s.messageNames(ctx, id)
		if err != nil {
			return nil, classify(attempted, err)
		}
		add(true, "a.message_id = ANY(@names)", "names", names)
	}
	sql := selectAttempt
	if len(where) > 0 {
		sql += " WHERE " + strings.Join(where, " AND ")
	}
	rows, err := s.pool.Query(ctx, sql+" ORDER BY a.id DESC LIMIT @limit", args)
	if err != nil {
		return nil, classify(attempted, err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByName[attemptRow])
	if err != nil {
		return nil, classify(attempted, err)
	}
	out := make([]outbox.Attempt, len(found))
	for i := range found {
		out[i] = found[i].attempt()
	}
	return out, nil
}

// messageNames returns the names of all messages about an event.
func (s *Store) messageNames(ctx context.Context, event [16]byte) ([]string, error) {
	rows, err := s.pool.Query(ctx, "SELECT sequence, step FROM event_change WHERE event_id = @id", pgx.StrictNamedArgs{"id": event})
	if err != nil {
		return nil, err
	}
	var names []string
	var sequence int64
	var step events.Step
	_, err = pgx.ForEachRow(rows, []any{&sequence, &step}, func() error {
		names = append(names, outbox.MessageID(formatID(event), step, sequence))
		return nil
	})
	return names, err
}

func (r *attemptRow) attempt() outbox.Attempt {
	a := outbox.Attempt{
		ID: r.ID, Endpoint: r.Endpoint, Former: r.Former, Kind: r.Kind, MessageID: r.MessageID, Number: r.Number,
		Result: outbox.Result{
			Outcome: r.Outcome, Status: r.Status, Excerpt: r.Excerpt, Started: r.StartedAt.UTC(),
			Took: time.Duration(r.Milliseconds) * time.Millisecond,
		},
	}
	if r.Sequence != nil {
		a.Sequence = *r.Sequence
	}
	if r.Error != "" {
		a.Result.Err = errors.New(r.Error)
	}
	if r.RetryAfter != nil {
		a.Result.RetryAfter = time.Duration(*r.RetryAfter) * time.Second
	}
	return a
}
