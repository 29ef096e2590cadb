package pgstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/outbox"
)

// endpointChannel is the NOTIFY of changed endpoints.
const endpointChannel = "xacam_endpoint"

// sealAbout binds secrets to their endpoint.
func sealAbout(endpoint string) string { return "endpoint " + endpoint }

// endpointSpec is an endpoint as the database keeps it.
type endpointSpec struct {
	URL         string            `json:"url"`
	Format      outbox.Format     `json:"format"`
	Filter      filterJSON        `json:"filter"`
	Signing     []string          `json:"signing"`
	AllowCIDRs  []netip.Prefix    `json:"allow_cidrs,omitempty"`
	CA          string            `json:"ca,omitempty"`
	Timeout     durationText      `json:"timeout"`
	Rate        float64           `json:"rate"`
	Concurrency int               `json:"concurrency"`
	Heartbeat   durationText      `json:"heartbeat"`
	ExpireAfter durationText      `json:"expire_after"`
	Headers     map[string][]byte `json:"headers,omitempty"` // values sealed
}

// durationText is a duration as people write it.
type durationText time.Duration

// MarshalText implements encoding.TextMarshaler.
func (d durationText) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *durationText) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	*d = durationText(v)
	return err
}

// endpointRow is an endpoint with what may be wrong with its secrets.
type endpointRow struct {
	outbox.Endpoint
	unreadable error
}

// endpoints reads endpoints that were not deleted, with their valid secrets,
// newest secret first.
func (s *Store) endpoints(ctx context.Context, q querier, where string, args pgx.StrictNamedArgs) ([]endpointRow, error) {
	rows, err := q.Query(ctx, `
		SELECT e.name, e.spec, e.version, e.enabled, e.disabled_why, e.failures, e.failing_since, e.retry_at,
			e.last_success_at, e.last_attempt_at, e.last_error, e.heartbeat_at,
			coalesce(jsonb_agg(jsonb_build_object('id', k.id, 'scheme', k.scheme, 'sealed', encode(k.sealed, 'base64'), 'public', k.public,
				'created', k.created_at, 'expires', k.expires_at) ORDER BY k.created_at DESC, k.id) FILTER (WHERE k.id IS NOT NULL), '[]') AS secrets
		FROM endpoint e LEFT JOIN endpoint_secret k ON k.endpoint = e.name AND (k.expires_at IS NULL OR k.expires_at > now())
		WHERE e.deleted_at IS NULL AND `+where+" GROUP BY e.name ORDER BY e.name", args)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (endpointRow, error) {
		var spec endpointSpec
		var secrets []secretJSON
		var e outbox.Endpoint
		h := &e.Health
		var failing, retry, success, attempt, beat *time.Time
		if err := row.Scan(&e.Name, &spec, &e.Version, &e.Enabled, &e.Disabled, &h.Failures, &failing, &retry,
			&success, &attempt, &h.LastError, &beat, &secrets); err != nil {
			return endpointRow{}, err
		}
		h.FailingSince, h.RetryAt, h.LastSuccess, h.LastAttempt, h.HeartbeatAt = orZero(failing), orZero(retry), orZero(success), orZero(attempt), orZero(beat)
		out := endpointRow{Endpoint: e}
		out.unreadable = s.fill(&out.Endpoint, &spec, secrets)
		return out, nil
	})
}

// orZero returns a time in UTC.
func orZero(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.UTC()
}

// fill opens what is sealed.
func (s *Store) fill(e *outbox.Endpoint, spec *endpointSpec, secrets []secretJSON) (unreadable error) {
	e.URL, e.Format, e.Filter, e.Signing, e.AllowCIDRs, e.CA = spec.URL, spec.Format, outbox.Filter(spec.Filter), spec.Signing, spec.AllowCIDRs, spec.CA
	e.Timeout, e.Rate, e.Concurrency = time.Duration(spec.Timeout), spec.Rate, spec.Concurrency
	e.Heartbeat, e.ExpireAfter = time.Duration(spec.Heartbeat), time.Duration(spec.ExpireAfter)
	if len(spec.Headers)+len(secrets) > 0 && s.cfg.Sealer == nil {
		return errNoSealer
	}
	var errs []error
	for name, sealed := range spec.Headers {
		if e.Headers == nil {
			e.Headers = make(map[string]string, len(spec.Headers))
		}
		value, err := s.cfg.Sealer.Open(sealed, sealAbout(e.Name))
		errs = append(errs, err)
		e.Headers[name] = string(value)
	}
	for _, k := range secrets {
		key, err := s.cfg.Sealer.Open(k.Sealed, sealAbout(e.Name))
		errs = append(errs, err)
		e.Secrets = append(e.Secrets, outbox.Secret{
			ID: k.ID, Scheme: k.Scheme, Key: key, Public: k.Public, Created: k.Created.UTC(), Expires: orZero(k.Expires),
		})
	}
	return errors.Join(errs...)
}

var errNoSealer = &refusedError{"the keys of this server are not there, so endpoints cannot be used"}

// Endpoint returns one endpoint with its secrets, or an error that wraps
// events.ErrNotFound.
func (s *Store) Endpoint(ctx context.Context, name string) (outbox.Endpoint, error) {
	e, err := s.endpoint(ctx, s.pool, name)
	return e, classify("read endpoint "+name, err)
}

func (s *Store) endpoint(ctx context.Context, q querier, name string) (outbox.Endpoint, error) {
	found, err := s.endpoints(ctx, q, "e.name = @name", pgx.StrictNamedArgs{"name": name})
	if err == nil && len(found) == 0 {
		err = events.ErrNotFound
	}
	if err != nil {
		return outbox.Endpoint{}, err
	}
	return found[0].Endpoint, found[0].unreadable
}

// CreateEndpoint stores a new endpoint and makes a secret for each of its
// schemes, but for those that e.Secrets gives. An error wraps events.ErrConflict
// when there is one of that name, and joins *events.FieldError for each problem.
func (s *Store) CreateEndpoint(ctx context.Context, e outbox.Endpoint, act outbox.Act) (outbox.Stored, error) {
	if err := s.makeRoom(ctx, e.Name); err != nil {
		return outbox.Stored{}, classify("endpoint.create "+e.Name, err)
	}
	return s.changeEndpoint(ctx, e.Name, act, "endpoint.create", argsOf(&e), func(ctx context.Context, tx pgx.Tx) (outbox.Stored, error) {
		st, err := s.putEndpoint(ctx, tx, e, act)
		if err == nil && !st.Created {
			err = fmt.Errorf("there is an endpoint %s already: %w", e.Name, events.ErrConflict)
		}
		return st, err
	})
}

// UpdateEndpoint stores a new version of an endpoint. Secrets stay, and one is
// made for each scheme that had none; e.Secrets is not looked at. When nothing
// differs nothing is written. Its failures are forgotten, so that it is tried
// at once.
func (s *Store) UpdateEndpoint(ctx context.Context, e outbox.Endpoint, act outbox.Act) (outbox.Stored, error) {
	e.Secrets = nil
	return s.changeEndpoint(ctx, e.Name, act, "endpoint.update", argsOf(&e), func(ctx context.Context, tx pgx.Tx) (outbox.Stored, error) {
		if _, err := s.endpoint(ctx, tx, e.Name); errors.Is(err, events.ErrNotFound) {
			return outbox.Stored{}, err
		}
		return s.putEndpoint(ctx, tx, e, act)
	})
}

// argsOf is what makes two requests for an endpoint the same.
func argsOf(e *outbox.Endpoint) any {
	keys := []string{}
	for _, k := range e.Secrets {
		keys = append(keys, k.Reveal())
	}
	return []any{settings(e), keys}
}

// ReplaceEndpoints stores all of the endpoints or, after an error, none; with
// prune it deletes every other one, as DeleteEndpoint does, and returns their
// names. Secrets that are given and not there yet are added, the others stay.
func (s *Store) ReplaceEndpoints(ctx context.Context, list []outbox.Endpoint, prune bool, act outbox.Act) (stored []outbox.Stored, deleted []string, err error) {
	list = slices.SortedFunc(slices.Values(list), func(a, b outbox.Endpoint) int { return strings.Compare(a.Name, b.Name) })
	keep := make([]string, len(list))
	for i := range list {
		keep[i] = list[i].Name
	}
	const attempted = "store endpoints"
	if err := s.makeRoom(ctx, keep...); err != nil {
		return nil, nil, classify(attempted, err)
	}
	err = s.transact(ctx, func(tx pgx.Tx) error {
		stored, deleted = nil, nil
		if err := lockAudit(ctx, tx); err != nil {
			return err
		}
		for _, e := range list {
			st, err := s.putEndpoint(ctx, tx, e, act)
			if err != nil {
				return fmt.Errorf("endpoint %s: %w", e.Name, err)
			}
			stored = append(stored, st)
		}
		if !prune {
			return nil
		}
		if deleted, err = markDeleted(ctx, tx, "name <> ALL (@keep)", pgx.StrictNamedArgs{"keep": keep}); err != nil {
			return err
		}
		for _, name := range deleted {
			if err := s.auditDeleted(ctx, tx, name, act); err != nil {
				return err
			}
		}
		return notifyEndpoints(ctx, tx)
	})
	if err != nil {
		return nil, nil, classify(attempted, err)
	}
	return stored, deleted, nil
}

// putEndpoint writes one endpoint and its audit entry.
func (s *Store) putEndpoint(ctx context.Context, tx pgx.Tx, e outbox.Endpoint, act outbox.Act) (outbox.Stored, error) {
	given := e.Secrets
	e, err := e.Check()
	if err != nil {
		return outbox.Stored{}, err
	}
	if s.cfg.Sealer == nil {
		return outbox.Stored{}, errNoSealer
	}
	// Two writers of one name come one after the other, also where it is new.
	if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(hashtextextended('xacam endpoint ' || @name, 0))", pgx.StrictNamedArgs{"name": e.Name}); err != nil {
		return outbox.Stored{}, err
	}
	if err := notLeft(ctx, tx, e.Name); err != nil {
		return outbox.Stored{}, err
	}
	old, err := s.endpoint(ctx, tx, e.Name)
	exists := !errors.Is(err, events.ErrNotFound)
	if err != nil && exists {
		return outbox.Stored{}, err
	}
	if err := checkVersion(act, old.Version); err != nil {
		return outbox.Stored{}, err
	}
	changed := changedFields(&old, &e)
	st := outbox.Stored{Created: !exists, Changed: !exists || len(changed) > 0}
	if st.Changed {
		if err := s.writeEndpoint(ctx, tx, &e); err != nil {
			return st, err
		}
	}
	if st.Issued, err = s.completeSecrets(ctx, tx, e, old.Secrets, given); err != nil {
		return st, err
	}
	if st.Changed || len(st.Issued) > 0 {
		detail := map[string]any{"changed": changed}
		for _, k := range st.Issued {
			detail["secret "+k.ID] = k.Scheme
		}
		action := "endpoint.update"
		if st.Created {
			action = "endpoint.create"
		}
		if err := errors.Join(s.auditIn(ctx, tx, change{act: act, action: action, endpoint: e.Name, detail: detail}), notifyEndpoints(ctx, tx)); err != nil {
			return st, err
		}
		st.Changed = true
	}
	st.Endpoint, err = s.endpoint(ctx, tx, e.Name)
	return st, err
}

// changedFields names the settings that differ, without their values.
func changedFields(old, now *outbox.Endpoint) []string {
	a, b := settings(old), settings(now)
	var out []string
	for _, name := range slices.Sorted(maps.Keys(b)) {
		if a[name] != b[name] {
			out = append(out, name)
		}
	}
	return out
}

// settings are what people say of an endpoint, as text that can be compared.
func settings(e *outbox.Endpoint) map[string]string {
	text := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			return err.Error()
		}
		return string(b)
	}
	return map[string]string{
		"enabled": text(e.Enabled), "url": e.URL, "format": string(e.Format), "filter": text(filterJSON(e.Filter)), "signing": text(e.Signing),
		"allow_cidrs": text(slices.Concat([]netip.Prefix{}, e.AllowCIDRs)), "ca": e.CA, "timeout": e.Timeout.String(), "rate": text(e.Rate),
		"concurrency": text(e.Concurrency), "heartbeat": e.Heartbeat.String(), "expire_after": e.ExpireAfter.String(),
		"headers": text(e.Headers),
	}
}

// writeEndpoint stores an endpoint. The epochs of a new one begin at its time, so
// that nobody who still delivers to an older one of the name has one of them, and
// its log behind that of the older one.
func (s *Store) writeEndpoint(ctx context.Context, tx pgx.Tx, e *outbox.Endpoint) error {
	spec := endpointSpec{
		URL: e.URL, Format: e.Format, Filter: filterJSON(e.Filter), Signing: e.Signing, AllowCIDRs: e.AllowCIDRs, CA: e.CA,
		Timeout: durationText(e.Timeout), Rate: e.Rate, Concurrency: e.Concurrency, Heartbeat: durationText(e.Heartbeat),
		ExpireAfter: durationText(e.ExpireAfter), Headers: make(map[string][]byte, len(e.Headers)),
	}
	for name, value := range e.Headers {
		spec.Headers[name] = s.cfg.Sealer.Seal([]byte(value), sealAbout(e.Name))
	}
	text, err := json.Marshal(spec)
	if err != nil {
		return &refusedError{err.Error()}
	}
	_, err = tx.Exec(ctx, `
		INSERT INTO endpoint (name, spec, version, enabled, disabled_why, lease_epoch, log_after)
		VALUES (@name, @spec::jsonb, 1, @enabled, CASE WHEN @enabled THEN '' ELSE 'admin' END, extract(epoch FROM clock_timestamp()) * 1000000,
			coalesce((SELECT max(id) FROM attempt), 0))
		ON CONFLICT (name) DO UPDATE SET spec = excluded.spec, enabled = excluded.enabled, version = endpoint.version + 1, updated_at = now(),
			retry_at = NULL, disabled_why = CASE WHEN excluded.enabled OR endpoint.enabled THEN excluded.disabled_why ELSE endpoint.disabled_why END`,
		pgx.StrictNamedArgs{"name": e.Name, "spec": string(text), "enabled": e.Enabled})
	return err
}

func notifyEndpoints(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, "SELECT pg_notify('"+endpointChannel+"', '')")
	return err
}
