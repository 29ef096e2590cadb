package pgstore

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/outbox"
)

// maxScan bounds how many changes one page of the feed looks at.
const maxScan = 5000

// Feed returns the next changes after a number that the key may see, at most
// limit (1 to 500) of them, as of each change. A page may be empty although more
// follows: what matters is that Next is below Last. A number past the newest is
// a *events.FieldError: it is of another store.
func (s *Store) Feed(ctx context.Context, key outbox.FeedKey, after int64, limit int) (outbox.FeedPage, error) {
	const attempted = "read the feed"
	f := key.Filter
	if len(f.Steps) == 0 {
		f.Steps = events.Steps()
	}
	matcher, err := outbox.NewMatcher(f, s.cfg.Calendar)
	if err != nil {
		return outbox.FeedPage{}, fmt.Errorf("%s: the filter of key %s: %w", attempted, key.Name, &refusedError{err.Error()})
	}
	// First the counter: every number up to it is visible to what reads later.
	p := outbox.FeedPage{Next: after}
	err = s.pool.QueryRow(ctx, "SELECT last, coalesce((SELECT min(sequence) FROM event_change), 0) FROM event_sequence").Scan(&p.Last, &p.First)
	if err != nil {
		return p, classify(attempted, err)
	}
	if after > p.Last {
		return p, &events.FieldError{
			Field: "after", Reason: fmt.Sprintf("is past the newest number %d, so it is from another store; begin again at 0", p.Last),
		}
	}
	limit = min(max(limit, 1), maxPage)
	size := limit // what a key without a filter fills its page with
	for scanned := 0; scanned < maxScan && len(p.Items) < limit; scanned, size = scanned+size, maxPage {
		found, upTo, more, err := s.changes(ctx, p.Next, size)
		if err != nil {
			return p, classify(attempted, err)
		}
		if !more { // what is missing up to the counter was deleted
			upTo = max(upTo, p.Last)
		}
		p.Last = max(p.Last, upTo)
		if fill(&p, found, matcher, limit) {
			p.Deleted += upTo - p.Next
			p.Next = upTo
		}
		if !more {
			break
		}
	}
	return p, nil
}

// fill takes changes into a page and reports whether it took them all.
func fill(p *outbox.FeedPage, found []events.Event, matcher *outbox.Matcher, limit int) bool {
	for i := range found {
		e := &found[i]
		if matcher.Match(e, e.Step) {
			if len(p.Items) == limit {
				return false
			}
			p.Items = append(p.Items, *e)
		} else {
			p.Filtered++
		}
		p.Deleted += e.Sequence - p.Next - 1
		p.Next = e.Sequence
	}
	return true
}

// feedSpec is a FeedKey in its column.
type feedSpec struct {
	Filter    filterJSON `json:"filter"`
	PerMinute int        `json:"per_minute"`
}

type feedKeyRow struct {
	Name       string
	Hash       []byte
	Spec       feedSpec
	CreatedAt  time.Time
	ExpiresAt  *time.Time
	LastUsedAt *time.Time
}

func (r *feedKeyRow) key() outbox.FeedKey {
	k := outbox.FeedKey{Name: r.Name, Filter: outbox.Filter(r.Spec.Filter), PerMinute: r.Spec.PerMinute, Created: r.CreatedAt.UTC()}
	copy(k.Hash[:], r.Hash)
	if r.ExpiresAt != nil {
		k.Expires = r.ExpiresAt.UTC()
	}
	if r.LastUsedAt != nil {
		k.LastUsed = r.LastUsedAt.UTC()
	}
	return k
}

func (s *Store) feedKeys(ctx context.Context, tail string, args pgx.StrictNamedArgs) ([]outbox.FeedKey, error) {
	return s.feedKeysAfter(ctx, "", tail, args)
}

// feedKeysAfter is feedKeys as they were before what else the statement does.
func (s *Store) feedKeysAfter(ctx context.Context, first, tail string, args pgx.StrictNamedArgs) ([]outbox.FeedKey, error) {
	rows, err := s.pool.Query(ctx, first+" SELECT name, hash, spec, created_at, expires_at, last_used_at FROM feed_key "+tail, args)
	if err != nil {
		return nil, err
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByName[feedKeyRow])
	out := make([]outbox.FeedKey, len(found))
	for i := range found {
		out[i] = found[i].key()
	}
	return out, err
}

// FeedKeys returns all keys by name.
func (s *Store) FeedKeys(ctx context.Context) ([]outbox.FeedKey, error) {
	found, err := s.feedKeys(ctx, "ORDER BY name", pgx.StrictNamedArgs{})
	return found, classify("list feed keys", err)
}

// UseFeedKey returns the key with a hash that has not expired, and notes its
// use, once a minute. An unknown one is an error that wraps events.ErrNotFound.
func (s *Store) UseFeedKey(ctx context.Context, hash [sha256.Size]byte) (outbox.FeedKey, error) {
	const attempted = "use a feed key"
	found, err := s.feedKeysAfter(ctx, `
		WITH used AS (
			UPDATE feed_key SET last_used_at = now()
			WHERE hash = @hash AND (expires_at IS NULL OR expires_at > now()) AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')
		)`, "WHERE hash = @hash AND (expires_at IS NULL OR expires_at > now())", pgx.StrictNamedArgs{"hash": hash[:]})
	if err != nil {
		return outbox.FeedKey{}, classify(attempted, err)
	}
	if len(found) != 1 || subtle.ConstantTimeCompare(found[0].Hash[:], hash[:]) != 1 {
		return outbox.FeedKey{}, fmt.Errorf("%s: %w", attempted, events.ErrNotFound)
	}
	return found[0], nil
}

// CreateFeedKey stores a key that passed Check, says so in the audit chain, and
// returns it. A name that is in use is an error that wraps events.ErrConflict.
// When the request was answered before, repeated is true and the key is the one
// of then, without its hash.
func (s *Store) CreateFeedKey(ctx context.Context, k outbox.FeedKey, act outbox.Act) (made outbox.FeedKey, repeated bool, err error) {
	attempted := "create feed key " + k.Name
	spec, err := json.Marshal(feedSpec{filterJSON(k.Filter), k.PerMinute})
	if err != nil {
		return k, false, classify(attempted, &refusedError{err.Error()})
	}
	detail := map[string]any{"spec": json.RawMessage(spec), "expires_at": timeOrNil(k.Expires)}
	made, repeated, err = once(ctx, s, feedRequest("feed_key.create", k.Name, act, detail), func(tx pgx.Tx) (outbox.FeedKey, error) {
		made := k
		made.Hash, made.LastUsed = [sha256.Size]byte{}, time.Time{}
		if err := s.auditFeed(ctx, tx, "feed_key.create", k.Name, act, detail); err != nil {
			return made, err
		}
		err := tx.QueryRow(ctx, `INSERT INTO feed_key (name, hash, spec, expires_at) VALUES (@name, @hash, @spec::text::jsonb, @expires)
			ON CONFLICT (name) DO NOTHING RETURNING created_at`,
			pgx.StrictNamedArgs{"name": k.Name, "hash": k.Hash[:], "spec": string(spec), "expires": timeOrNil(k.Expires)}).Scan(&made.Created)
		if errorsIsNoRows(err) {
			err = &events.ConflictError{Reason: fmt.Sprintf("there is a feed key %s already; revoke it first, or choose another name", k.Name)}
		}
		made.Created = made.Created.UTC()
		return made, err
	})
	return made, repeated, classify(attempted, err)
}

// RevokeFeedKey deletes a key, and says so in the audit chain. An unknown one is
// an error that wraps events.ErrNotFound.
func (s *Store) RevokeFeedKey(ctx context.Context, name string, act outbox.Act) error {
	const action = "feed_key.revoke"
	_, _, err := once(ctx, s, feedRequest(action, name, act, nil), func(tx pgx.Tx) (none struct{}, err error) {
		if err := s.auditFeed(ctx, tx, action, name, act, nil); err != nil {
			return none, err
		}
		tag, err := tx.Exec(ctx, "DELETE FROM feed_key WHERE name = @name", pgx.StrictNamedArgs{"name": name})
		if err == nil && tag.RowsAffected() == 0 {
			err = events.ErrNotFound
		}
		return none, err
	})
	return classify("revoke feed key "+name, err)
}

func feedRequest(action, name string, act outbox.Act, args any) *request {
	return &request{key: act.Key, by: act.By, action: action, subject: "feed_key:" + name, args: args}
}

// auditFeed remembers what is done to a key in the transaction that does it.
func (s *Store) auditFeed(ctx context.Context, tx pgx.Tx, action, name string, act outbox.Act, detail map[string]any) error {
	e, err := newEntry(act.By, action, "feed_key:"+name, "", detail)
	if err != nil {
		return err
	}
	e.Key = act.Key
	return s.appendAudit(ctx, tx, e)
}
