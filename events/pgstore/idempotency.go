package pgstore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/xacam/xacam/events"
)

// request is what somebody asks for, as far as it makes two requests the same.
type request struct {
	key     string // Idempotency-Key; "" does it every time
	by      string
	action  string // "endpoint.create"
	subject string // "endpoint:ioc"
	args    any    // the rest of it; may hold secrets
}

// what names the request, so that another one under its key is noticed: words,
// and a hash of all of it, as there may be secrets.
func (r *request) what() (string, error) {
	b, err := json.Marshal([]any{r.by, r.action, r.subject, r.args})
	if err != nil {
		return "", &refusedError{err.Error()}
	}
	sum := sha256.Sum256(b)
	return r.words() + whatHash + hex.EncodeToString(sum[:]), nil
}

func (r *request) words() string { return fmt.Sprintf("%s of %s by %s", r.action, r.subject, r.by) }

// whatHash stands between the words and the hash.
const whatHash = " #"

// once does what is asked for in one transaction, which do gets. When that was
// done within the last day by a request with the same key, do is not called: the
// answer is the one of then and repeated is true. Of several at a time one is
// done and the others wait for it. What failed is not remembered. An answer is
// kept as JSON and must hold no secrets. The error is a *events.FieldError when
// the key was used for another request.
//
// The key comes before all other locks, see appendAudit.
func once[A any](ctx context.Context, s *Store, r *request, do func(tx pgx.Tx) (A, error)) (answer A, repeated bool, err error) {
	err = s.transact(ctx, func(tx pgx.Tx) error {
		var zero A
		answer = zero
		if repeated, err = claim(ctx, tx, r, &answer); err != nil || repeated {
			return err
		}
		if answer, err = do(tx); err != nil {
			return err
		}
		return conclude(ctx, tx, r, answer)
	})
	return answer, repeated, err
}

// onceInParts is once for what takes longer than a transaction should: do works
// in some of its own. Meanwhile other requests with the key get an error that
// wraps events.ErrConflict. After a crash the key is free once claimStale is over.
func onceInParts[A any](ctx context.Context, s *Store, r *request, do func() (A, error)) (answer A, repeated bool, err error) {
	err = s.transact(ctx, func(tx pgx.Tx) error {
		repeated, err = claim(ctx, tx, r, &answer)
		return err
	})
	if err != nil || repeated {
		return answer, repeated, err
	}
	answer, err = do()
	if r.key == "" {
		return answer, false, err
	}
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), endingFor)
	defer cancel()
	if err != nil {
		_, freed := s.pool.Exec(ending, "DELETE FROM idempotency WHERE key = @key AND answer IS NULL", pgx.StrictNamedArgs{"key": r.key})
		return answer, false, errors.Join(err, freed)
	}
	return answer, false, s.transact(ending, func(tx pgx.Tx) error { return conclude(ending, tx, r, answer) })
}

// endingFor is how long the end of a request may take whose client has gone.
const endingFor = 5 * time.Second

// claimStale is when a claim without an answer counts as given up: longer than
// anything takes.
const claimStale = 2 * time.Minute

// claim takes the key of a request. It reports whether the request was done
// before, and then fills in its answer, a pointer.
func claim(ctx context.Context, tx pgx.Tx, r *request, answer any) (done bool, err error) {
	if r.key == "" {
		return false, nil
	}
	what, err := r.what()
	if err != nil {
		return false, err
	}
	tag, err := tx.Exec(ctx, `
		INSERT INTO idempotency (key, what, answer) VALUES (@key, @what, NULL)
		ON CONFLICT (key) DO UPDATE SET what = excluded.what, at = clock_timestamp(), answer = NULL
			WHERE idempotency.at < clock_timestamp() - CASE WHEN idempotency.answer IS NULL THEN @stale::interval ELSE '1 day' END`,
		pgx.StrictNamedArgs{"key": r.key, "what": what, "stale": claimStale})
	if err != nil || tag.RowsAffected() == 1 {
		return false, err
	}
	var was string
	var text []byte
	if err := tx.QueryRow(ctx, "SELECT what, answer::text FROM idempotency WHERE key = @key", pgx.StrictNamedArgs{"key": r.key}).Scan(&was, &text); err != nil {
		return false, err
	}
	switch {
	case was != what:
		words, _, _ := strings.Cut(was, whatHash)
		return false, &events.FieldError{
			Field: "Idempotency-Key", Reason: fmt.Sprintf("was used for another request, %s; a new request needs a new key", words),
		}
	case text == nil:
		return false, &events.ConflictError{Reason: "the same request is being done at this moment, ask again for what became of it"}
	}
	return true, json.Unmarshal(text, answer)
}

// conclude remembers the answer to a request that claim has not seen before.
func conclude(ctx context.Context, tx pgx.Tx, r *request, answer any) error {
	if r.key == "" {
		return nil
	}
	text, err := json.Marshal(answer)
	if err != nil {
		return &refusedError{err.Error()}
	}
	_, err = tx.Exec(ctx, "UPDATE idempotency SET answer = @answer::text::jsonb WHERE key = @key", pgx.StrictNamedArgs{"key": r.key, "answer": string(text)})
	return err
}

// forgetRequests deletes what is older than a day.
func (s *Store) forgetRequests(ctx context.Context) error {
	_, err := s.pool.Exec(ctx, `DELETE FROM idempotency WHERE key = ANY (ARRAY(
		SELECT key FROM idempotency WHERE at < clock_timestamp() - interval '1 day' FOR UPDATE SKIP LOCKED))`)
	return err
}
