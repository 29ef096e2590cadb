package pgstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/outbox"
)

// systemActor is who does what no person asked for.
const systemActor = "system"

// change is what is to be remembered of an act on an endpoint. It holds no
// secrets.
type change struct {
	act              outbox.Act
	action, endpoint string
	detail           map[string]any
}

// auditIn remembers a change in the transaction that makes it.
func (s *Store) auditIn(ctx context.Context, tx pgx.Tx, c change) error {
	e, err := newEntry(c.act.By, c.action, "endpoint:"+c.endpoint, "", c.detail)
	if err != nil {
		return err
	}
	e.Key = c.act.Key
	return s.appendAudit(ctx, tx, e)
}

// lockAudit takes what appendAudit will take. Whoever needs rows of endpoint or
// delivery as well must do so first: see the order of locks at appendAudit.
func lockAudit(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, "SELECT 1 FROM audit_head FOR UPDATE")
	return err
}

// transact runs do in a transaction, and again when that lost against another
// one.
func (s *Store) transact(ctx context.Context, do func(tx pgx.Tx) error) error {
	for attempt := 1; ; attempt++ {
		err := pgx.BeginFunc(ctx, s.pool, do)
		if !collided(err) || attempt == maxAttempts {
			return err
		}
	}
}

// answer is what is remembered of a change of an endpoint: no secrets.
type answer struct {
	Created bool     `json:"created,omitempty"`
	Changed bool     `json:"changed,omitempty"`
	Secrets []string `json:"secrets,omitempty"` // identifiers
}

func requestOf(action, endpoint string, act outbox.Act, args any) *request {
	return &request{key: act.Key, by: act.By, action: action, subject: "endpoint:" + endpoint, args: args}
}

// changeEndpoint runs do in a transaction that holds the audit chain, once for
// each request. A retry is answered from how the endpoint is now, without the
// secrets.
func (s *Store) changeEndpoint(
	ctx context.Context, name string, act outbox.Act, action string, args any, do func(context.Context, pgx.Tx) (outbox.Stored, error),
) (st outbox.Stored, err error) {
	done, repeated, err := once(ctx, s, requestOf(action, name, act, args), func(tx pgx.Tx) (a answer, err error) {
		if err := lockAudit(ctx, tx); err != nil {
			return a, err
		}
		st, err = do(ctx, tx)
		a = answer{Created: st.Created, Changed: st.Changed}
		for _, k := range st.Issued {
			a.Secrets = append(a.Secrets, k.ID)
		}
		return a, err
	})
	if err == nil && repeated {
		st = outbox.Stored{Created: done.Created, Changed: done.Changed}
		st.Endpoint, err = s.endpoint(ctx, s.pool, name)
		for _, k := range st.Endpoint.Secrets {
			if slices.Contains(done.Secrets, k.ID) {
				st.Issued = append(st.Issued, outbox.IssuedSecret{Secret: k})
			}
		}
	}
	return st, classify(action+" "+name, err)
}

// actOnEndpoint is changeEndpoint for what answers nothing.
func (s *Store) actOnEndpoint(ctx context.Context, r *request, do func(tx pgx.Tx) error) error {
	_, _, err := once(ctx, s, r, func(tx pgx.Tx) (struct{}, error) {
		if err := lockAudit(ctx, tx); err != nil {
			return struct{}{}, err
		}
		return struct{}{}, do(tx)
	})
	return err
}

// EnableEndpoint makes an endpoint that was disabled, by a person or by its own
// 410, take deliveries again, those that have waited first. What happened
// meanwhile was not queued for it; a replay of what is missing brings it.
func (s *Store) EnableEndpoint(ctx context.Context, name string, act outbox.Act) (outbox.Stored, error) {
	return s.changeEndpoint(ctx, name, act, "endpoint.enable", nil, func(ctx context.Context, tx pgx.Tx) (st outbox.Stored, err error) {
		tag, err := tx.Exec(ctx, `
			UPDATE endpoint SET enabled = true, disabled_why = '', retry_at = NULL, version = version + 1, updated_at = now()
			WHERE name = @name AND deleted_at IS NULL AND NOT enabled AND (@version::int = 0 OR version = @version::int)`,
			pgx.StrictNamedArgs{"name": name, "version": act.Version})
		if err != nil {
			return st, err
		}
		st.Changed = tag.RowsAffected() > 0
		if st.Endpoint, err = s.endpoint(ctx, tx, name); err != nil {
			return st, err
		}
		if !st.Changed {
			return st, checkVersion(act, st.Endpoint.Version)
		}
		return st, errors.Join(s.auditIn(ctx, tx, change{act: act, action: "endpoint.enable", endpoint: name}), notifyEndpoints(ctx, tx))
	})
}

// checkVersion holds a change to the version that it was meant for; 0 is none.
func checkVersion(act outbox.Act, version int) error {
	if act.Version != 0 && act.Version != version {
		return fmt.Errorf("its version is %d now: %w", version, events.ErrConflict)
	}
	return nil
}

// secretJSON is a secret as endpoints selects it.
type secretJSON struct {
	ID      string     `json:"id"`
	Scheme  string     `json:"scheme"`
	Sealed  []byte     `json:"sealed"`
	Public  string     `json:"public"`
	Created time.Time  `json:"created"`
	Expires *time.Time `json:"expires"`
}

// completeSecrets adds those given that are not there yet, and makes one for
// each scheme that has none.
func (s *Store) completeSecrets(ctx context.Context, tx pgx.Tx, e outbox.Endpoint, have, given []outbox.Secret) ([]outbox.IssuedSecret, error) {
	var issued []outbox.IssuedSecret
	now, err := clock(ctx, tx)
	if err != nil {
		return nil, err
	}
	schemes := map[string]bool{}
	for _, k := range have {
		schemes[k.Scheme] = schemes[k.Scheme] || k.Expires.IsZero()
	}
	for _, k := range given {
		if slices.ContainsFunc(have, func(h outbox.Secret) bool { return h.Scheme == k.Scheme && string(h.Key) == string(k.Key) }) {
			continue
		}
		k.Created = now
		if err := s.insertSecret(ctx, tx, e.Name, k); err != nil {
			return nil, err
		}
		schemes[k.Scheme] = true
		issued = append(issued, outbox.IssuedSecret{Secret: k, Text: k.Text()})
	}
	for _, scheme := range e.Signing {
		if schemes[scheme] {
			continue
		}
		k := outbox.NewSecret(scheme, now)
		if err := s.insertSecret(ctx, tx, e.Name, k); err != nil {
			return nil, err
		}
		issued = append(issued, outbox.IssuedSecret{Secret: k, Text: k.Text()})
	}
	return issued, nil
}

func clock(ctx context.Context, tx pgx.Tx) (now time.Time, err error) {
	err = tx.QueryRow(ctx, "SELECT clock_timestamp()").Scan(&now)
	return now.UTC(), err
}

func (s *Store) insertSecret(ctx context.Context, tx pgx.Tx, endpoint string, k outbox.Secret) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO endpoint_secret (id, endpoint, scheme, sealed, public, created_at, expires_at)
		VALUES (@id, @endpoint, @scheme, @sealed, @public, @created, @expires)`,
		pgx.StrictNamedArgs{
			"id": k.ID, "endpoint": endpoint, "scheme": k.Scheme, "sealed": s.cfg.Sealer.Seal(k.Key, sealAbout(endpoint)),
			"public": k.Public, "created": k.Created, "expires": timeOrNil(k.Expires),
		})
	return err
}

// maxSecrets bounds those that sign beside each other: each makes the header of
// every request longer.
const maxSecrets = 8

// RotateSecret makes a new secret of a scheme that the endpoint signs with. Those
// that it had go on signing beside it for the overlap (0 to 30 days). given, when
// not nil, is taken in place of a random one.
func (s *Store) RotateSecret(ctx context.Context, name, scheme string, given *outbox.Secret, overlap time.Duration, act outbox.Act) (outbox.Stored, error) {
	if overlap < 0 || overlap > 30*24*time.Hour {
		return outbox.Stored{}, classify("rotate a secret", &events.FieldError{Field: "overlap", Reason: "must be 0 to 720h"})
	}
	args := []any{scheme, overlap}
	if given != nil {
		args = append(args, given.Reveal())
	}
	return s.changeEndpoint(ctx, name, act, "endpoint.secret.rotate", args, func(ctx context.Context, tx pgx.Tx) (st outbox.Stored, err error) {
		if st.Endpoint, err = s.lockEndpoint(ctx, tx, name, act); err != nil {
			return st, err
		}
		if !slices.Contains(st.Endpoint.Signing, scheme) {
			return st, &events.FieldError{Field: "scheme", Reason: fmt.Sprintf("must be one that the endpoint signs with: %v", st.Endpoint.Signing)}
		}
		if len(st.Endpoint.Secrets) >= maxSecrets {
			return st, fmt.Errorf("%d secrets sign already, delete old ones first: %w", maxSecrets, events.ErrConflict)
		}
		now, err := clock(ctx, tx)
		if err != nil {
			return st, err
		}
		k := outbox.NewSecret(scheme, now)
		if given != nil {
			k = *given
			k.Created = now
		}
		if _, err := tx.Exec(ctx, `
			UPDATE endpoint_secret SET expires_at = @until
			WHERE endpoint = @name AND scheme = @scheme AND (expires_at IS NULL OR expires_at > @until)`,
			pgx.StrictNamedArgs{"name": name, "scheme": scheme, "until": now.Add(overlap)}); err != nil {
			return st, err
		}
		if err := s.insertSecret(ctx, tx, name, k); err != nil {
			return st, err
		}
		st.Changed, st.Issued = true, []outbox.IssuedSecret{{Secret: k, Text: k.Text()}}
		detail := map[string]any{"secret": k.ID, "scheme": scheme, "overlap": overlap.String()}
		if err := errors.Join(s.auditIn(ctx, tx, change{act: act, action: "endpoint.secret.rotate", endpoint: name, detail: detail}), notifyEndpoints(ctx, tx)); err != nil {
			return st, err
		}
		st.Endpoint, err = s.endpoint(ctx, tx, name)
		return st, err
	})
}

// lockEndpoint reads an endpoint and keeps others from changing it until the
// transaction ends.
func (s *Store) lockEndpoint(ctx context.Context, tx pgx.Tx, name string, act outbox.Act) (outbox.Endpoint, error) {
	if _, err := tx.Exec(ctx, "SELECT 1 FROM endpoint WHERE name = @name FOR NO KEY UPDATE", pgx.StrictNamedArgs{"name": name}); err != nil {
		return outbox.Endpoint{}, err
	}
	e, err := s.endpoint(ctx, tx, name)
	if err != nil {
		return e, err
	}
	return e, checkVersion(act, e.Version)
}

// keepEndpoint reads an endpoint and keeps it from being deleted until the
// transaction ends; deliveries to it go on.
func (s *Store) keepEndpoint(ctx context.Context, tx pgx.Tx, name string, act outbox.Act) (outbox.Endpoint, error) {
	if _, err := tx.Exec(ctx, "SELECT 1 FROM endpoint WHERE name = @name FOR KEY SHARE", pgx.StrictNamedArgs{"name": name}); err != nil {
		return outbox.Endpoint{}, err
	}
	e, err := s.endpoint(ctx, tx, name)
	if err != nil {
		return e, err
	}
	return e, checkVersion(act, e.Version)
}

// DeleteSecret revokes a secret at once. The last one of a scheme that the
// endpoint signs with is kept: an error wraps events.ErrConflict.
func (s *Store) DeleteSecret(ctx context.Context, name, id string, act outbox.Act) error {
	const action = "endpoint.secret.delete"
	return classify("delete a secret of endpoint "+name, s.actOnEndpoint(ctx, requestOf(action, name, act, id), func(tx pgx.Tx) error {
		e, err := s.lockEndpoint(ctx, tx, name, act)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(e.Secrets, func(k outbox.Secret) bool { return k.ID == id })
		if i < 0 {
			return events.ErrNotFound
		}
		k := e.Secrets[i]
		others := slices.ContainsFunc(e.Secrets, func(o outbox.Secret) bool { return o.ID != id && o.Scheme == k.Scheme && o.Expires.IsZero() })
		if slices.Contains(e.Signing, k.Scheme) && k.Expires.IsZero() && !others {
			return fmt.Errorf("it is the only one that signs with %s for good, rotate it instead: %w", k.Scheme, events.ErrConflict)
		}
		if _, err := tx.Exec(ctx, "DELETE FROM endpoint_secret WHERE endpoint = @name AND id = @id", pgx.StrictNamedArgs{"name": name, "id": id}); err != nil {
			return err
		}
		detail := map[string]any{"secret": id, "scheme": k.Scheme}
		return errors.Join(s.auditIn(ctx, tx, change{act: act, action: action, endpoint: name, detail: detail}), notifyEndpoints(ctx, tx))
	}))
}
