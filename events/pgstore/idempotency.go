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

// whatUnknown is a request of a version that kept less of it.
const whatUnknown = "unknown"

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
		var c claimed
		if c, repeated, err = claim(ctx, tx, r, &answer); err != nil || repeated {
			return err
		}
		if answer, err = do(tx); err != nil {
			return err
		}
		return c.conclude(ctx, tx, answer)
	})
	return answer, repeated, err
}

// onceInParts is once for what takes longer than a transaction should. part is
// called, each time in a transaction of its own, while it says that there is more.
// It gets how far it is, at first the zero value, and moves that on; the last
// is the answer. P is kept as JSON. Meanwhile other requests with the key get an
// error that wraps events.ErrConflict. After an error the same request goes on
// where it was, after a crash once claimStale is over; who was thought dead cannot
// do another part then.
func onceInParts[P any](ctx context.Context, s *Store, r *request, part func(tx pgx.Tx, p *P) (more bool, err error)) (p P, repeated bool, err error) {
	var c claimed
	err = s.transact(ctx, func(tx pgx.Tx) error {
		var zero P
		p = zero
		if c, repeated, err = claim(ctx, tx, r, &p); err != nil || c.progress == nil {
			return err
		}
		return json.Unmarshal(c.progress, &p)
	})
	for more := !repeated; more && err == nil; {
		next := p
		err = s.transact(ctx, func(tx pgx.Tx) (err error) {
			next = p
			if err := c.lock(ctx, tx); err != nil {
				return err
			}
			if more, err = part(tx, &next); err != nil {
				return err
			}
			if more {
				return c.note(ctx, tx, next)
			}
			return c.conclude(ctx, tx, next)
		})
		if err != nil {
			return p, false, errors.Join(err, s.release(ctx, &c))
		}
		p = next
	}
	return p, repeated, err
}

// endingFor is how long the end of a request may take whose client has gone.
const endingFor = 5 * time.Second

// claimStale is when a claim that does not get on counts as given up: longer than
// a test or one part of anything takes.
const claimStale = 2 * time.Minute

// claimed is a request that is to be done by who has it. Without a key there is
// nothing to remember.
type claimed struct {
	key, claim string
	progress   []byte // of who gave it up; nil for none
}

// claim takes the key of a request. It reports whether the request was done
// before, and then fills in its answer, a pointer.
func claim(ctx context.Context, tx pgx.Tx, r *request, answer any) (c claimed, done bool, err error) {
	if r.key == "" {
		return c, false, nil
	}
	what, err := r.what()
	if err != nil {
		return c, false, err
	}
	c.key = r.key
	err = tx.QueryRow(ctx, `
		INSERT INTO idempotency (key, what, answer, claim) VALUES (@key, @what, NULL, gen_random_uuid())
		ON CONFLICT (key) DO UPDATE SET what = excluded.what, at = clock_timestamp(), answer = NULL, claim = excluded.claim,
			progress = CASE WHEN idempotency.at >= clock_timestamp() - interval '1 day' THEN idempotency.progress END
		WHERE idempotency.at < clock_timestamp() - interval '1 day' OR (idempotency.answer IS NULL AND idempotency.what = excluded.what
			AND (idempotency.claim IS NULL OR idempotency.at < clock_timestamp() - @stale::interval))
		RETURNING claim::text, progress::text`,
		pgx.StrictNamedArgs{"key": r.key, "what": what, "stale": claimStale}).Scan(&c.claim, &c.progress)
	if !errorsIsNoRows(err) {
		return c, false, err
	}
	var was string
	var text []byte
	if err := tx.QueryRow(ctx, "SELECT what, answer::text FROM idempotency WHERE key = @key", pgx.StrictNamedArgs{"key": r.key}).Scan(&was, &text); err != nil {
		return c, false, err
	}
	switch {
	case was == whatUnknown:
		return c, false, &events.ConflictError{
			Reason: "the key was used before the server was updated, and for what is not known any more; see whether this was done, and if not, ask with a new key",
		}
	case was != what:
		words, _, _ := strings.Cut(was, whatHash)
		return c, false, &events.FieldError{
			Field: "Idempotency-Key", Reason: fmt.Sprintf("was used for another request, %s; a new request needs a new key", words),
		}
	case text == nil:
		return c, false, &events.ConflictError{Reason: "the same request is being done at this moment, ask again for what became of it"}
	}
	return c, true, json.Unmarshal(text, answer)
}

// errClaimLost is for who took so long that another one does the request.
var errClaimLost = &events.ConflictError{Reason: "the same request was begun again meanwhile, ask again for what became of it"}

// held selects the row of a request that is still to be done by who has it.
const held = " WHERE key = @key AND claim = @claim::uuid AND answer IS NULL"

// lock keeps others from taking the request until the transaction ends, or fails
// when one has.
func (c *claimed) lock(ctx context.Context, tx pgx.Tx) error {
	return c.change(ctx, tx, "SELECT FROM idempotency"+held+" FOR UPDATE", pgx.StrictNamedArgs{})
}

// note remembers how far it is.
func (c *claimed) note(ctx context.Context, tx pgx.Tx, progress any) error {
	text, err := json.Marshal(progress)
	if err != nil {
		return &refusedError{err.Error()}
	}
	return c.change(ctx, tx, "UPDATE idempotency SET progress = @progress::text::jsonb, at = clock_timestamp()"+held,
		pgx.StrictNamedArgs{"progress": string(text)})
}

// conclude remembers the answer.
func (c *claimed) conclude(ctx context.Context, tx pgx.Tx, answer any) error {
	text, err := json.Marshal(answer)
	if err != nil {
		return &refusedError{err.Error()}
	}
	return c.change(ctx, tx, "UPDATE idempotency SET answer = @answer::text::jsonb, claim = NULL, progress = NULL"+held,
		pgx.StrictNamedArgs{"answer": string(text)})
}

func (c *claimed) change(ctx context.Context, tx pgx.Tx, sql string, args pgx.StrictNamedArgs) error {
	if c.key == "" {
		return nil
	}
	args["key"], args["claim"] = c.key, c.claim
	tag, err := tx.Exec(ctx, sql, args)
	if err == nil && tag.RowsAffected() == 0 {
		err = errClaimLost
	}
	return err
}

// release lets others do what failed: anew, or from where it was.
func (s *Store) release(ctx context.Context, c *claimed) error {
	if c.key == "" {
		return nil
	}
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), endingFor)
	defer cancel()
	_, err := s.pool.Exec(ending, "WITH begun AS (UPDATE idempotency SET claim = NULL"+held+" AND progress IS NOT NULL) DELETE FROM idempotency"+held+" AND progress IS NULL",
		pgx.StrictNamedArgs{"key": c.key, "claim": c.claim})
	return err
}

// forgetRequests deletes what is older than a day.
func (s *Store) forgetRequests(ctx context.Context) error {
	_, err := s.pool.Exec(ctx, `DELETE FROM idempotency WHERE key = ANY (ARRAY(
		SELECT key FROM idempotency WHERE at < clock_timestamp() - interval '1 day' FOR UPDATE SKIP LOCKED))`)
	return err
}
