package pgstore

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/xacam/xacam/events"
)

// Camera is a stored camera.
type Camera struct {
	Slug      string
	Spec      json.RawMessage // a JSON object; the database may have reordered its keys
	Version   int             // 1 is the first; raised by each change
	Enabled   bool
	CreatedAt time.Time // UTC
	UpdatedAt time.Time // UTC
}

// CameraInput is a camera to be stored.
type CameraInput struct {
	Slug     string
	Spec     json.RawMessage            // a JSON object, the whole camera
	Rules    map[string]json.RawMessage // the rules in it by name, JSON objects
	Disabled bool
}

// Cameras returns all cameras by slug.
func (s *Store) Cameras(ctx context.Context) ([]Camera, error) {
	found, err := s.cameras(ctx, "ORDER BY slug", pgx.StrictNamedArgs{})
	return found, classify("list cameras", err)
}

// Camera returns one camera, or an error that wraps events.ErrNotFound.
func (s *Store) Camera(ctx context.Context, slug string) (Camera, error) {
	found, err := s.cameras(ctx, "WHERE slug = @slug", pgx.StrictNamedArgs{"slug": slug})
	if err == nil && len(found) == 0 {
		err = events.ErrNotFound
	}
	if err != nil {
		return Camera{}, classify("read camera "+slug, err)
	}
	return found[0], nil
}

func (s *Store) cameras(ctx context.Context, tail string, args pgx.StrictNamedArgs) ([]Camera, error) {
	rows, err := s.pool.Query(ctx, "SELECT slug, spec, version, enabled, created_at, updated_at FROM camera "+tail, args)
	if err != nil {
		return nil, err
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByName[Camera])
	for i := range found {
		found[i].CreatedAt, found[i].UpdatedAt = found[i].CreatedAt.UTC(), found[i].UpdatedAt.UTC()
	}
	return found, err
}

// PutCamera stores a camera and new versions of the rules that changed, and
// returns the camera's version. When nothing changed it writes nothing.
func (s *Store) PutCamera(ctx context.Context, c CameraInput) (int, error) {
	versions, err := s.PutCameras(ctx, []CameraInput{c})
	return versions[c.Slug], err
}

// PutCameras stores all of the cameras or, after an error, none. It returns
// their versions by slug. Cameras that are not named stay as they are.
func (s *Store) PutCameras(ctx context.Context, cameras []CameraInput) (map[string]int, error) {
	versions, _, err := s.putCameras(ctx, cameras, false)
	return versions, err
}

// ReplaceCameras is PutCameras and, in the same transaction, deletes every
// other camera; it returns their slugs in alphabetical order.
func (s *Store) ReplaceCameras(ctx context.Context, cameras []CameraInput) (versions map[string]int, deleted []string, err error) {
	return s.putCameras(ctx, cameras, true)
}

func (s *Store) putCameras(ctx context.Context, cameras []CameraInput, prune bool) (versions map[string]int, deleted []string, err error) {
	// One order for everybody, so that two imports do not wait for each other.
	sorted := slices.SortedStableFunc(slices.Values(cameras), func(a, b CameraInput) int { return cmp.Compare(a.Slug, b.Slug) })
	versions = make(map[string]int, len(sorted))
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		changed := false
		for i, c := range sorted {
			if i > 0 && sorted[i-1].Slug == c.Slug {
				return &refusedError{fmt.Sprintf("camera %s is given twice", c.Slug)}
			}
			version, fresh, err := putCamera(ctx, tx, c)
			if err != nil {
				return fmt.Errorf("camera %s: %w", c.Slug, err)
			}
			versions[c.Slug] = version
			changed = changed || fresh
		}
		if prune {
			rows, err := tx.Query(ctx, "DELETE FROM camera WHERE slug <> ALL (@keep) RETURNING slug",
				pgx.StrictNamedArgs{"keep": slices.AppendSeq([]string{}, maps.Keys(versions))})
			if err != nil {
				return err
			}
			if deleted, err = pgx.CollectRows(rows, pgx.RowTo[string]); err != nil {
				return err
			}
			slices.Sort(deleted)
		}
		if !changed && len(deleted) == 0 {
			return nil
		}
		return notifyCameras(ctx, tx)
	})
	if err != nil {
		return nil, nil, classify("store cameras", err)
	}
	return versions, deleted, nil
}

// putCamera writes one camera and its rules; fresh is false when nothing
// differs. jsonb compares by meaning, so order and spaces do not matter.
func putCamera(ctx context.Context, tx pgx.Tx, c CameraInput) (version int, fresh bool, err error) {
	if !json.Valid(c.Spec) {
		return 0, false, &refusedError{"its specification is not JSON"}
	}
	// The insert of an existing slug waits for a transaction that writes it.
	tag, err := tx.Exec(ctx, `
		INSERT INTO camera (slug, spec, version, enabled) VALUES (@slug, @spec::jsonb, 1, @enabled)
		ON CONFLICT (slug) DO UPDATE SET spec = excluded.spec, enabled = excluded.enabled,
			version = camera.version + 1, updated_at = now()
		WHERE camera.spec <> excluded.spec OR camera.enabled <> excluded.enabled`,
		pgx.StrictNamedArgs{"slug": c.Slug, "spec": string(c.Spec), "enabled": !c.Disabled})
	if err != nil {
		return 0, false, err
	}
	fresh = tag.RowsAffected() > 0
	// FOR UPDATE: two writers of one camera number its rules one after the other.
	if err := tx.QueryRow(ctx, "SELECT version FROM camera WHERE slug = @slug FOR UPDATE",
		pgx.StrictNamedArgs{"slug": c.Slug}).Scan(&version); err != nil {
		return 0, false, err
	}
	for name, spec := range c.Rules {
		if !json.Valid(spec) {
			return 0, false, &refusedError{fmt.Sprintf("rule %s is not JSON", name)}
		}
		tag, err := tx.Exec(ctx, `
			INSERT INTO rule (camera, name, version, spec)
			SELECT @camera, @name, coalesce(latest.version, 0) + 1, @spec::jsonb
			FROM (VALUES (1)) AS one LEFT JOIN LATERAL (
				SELECT version, spec FROM rule WHERE camera = @camera AND name = @name ORDER BY version DESC LIMIT 1
			) AS latest ON true
			WHERE latest.spec IS DISTINCT FROM @spec::jsonb`,
			pgx.StrictNamedArgs{"camera": c.Slug, "name": name, "spec": string(spec)})
		if err != nil {
			return 0, false, fmt.Errorf("rule %s: %w", name, err)
		}
		fresh = fresh || tag.RowsAffected() > 0
	}
	return version, fresh, nil
}

// DeleteCamera removes a camera, or returns an error that wraps
// events.ErrNotFound. Its events and the history of its rules stay.
func (s *Store) DeleteCamera(ctx context.Context, slug string) error {
	return classify("delete camera "+slug, pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, "DELETE FROM camera WHERE slug = @slug", pgx.StrictNamedArgs{"slug": slug})
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			return events.ErrNotFound
		}
		return notifyCameras(ctx, tx)
	}))
}

// RuleVersions returns the latest version of each rule that a camera has or
// had, by name.
func (s *Store) RuleVersions(ctx context.Context, slug string) (map[string]int, error) {
	rows, err := s.pool.Query(ctx, "SELECT name, max(version) FROM rule WHERE camera = @camera GROUP BY name",
		pgx.StrictNamedArgs{"camera": slug})
	attempted := "read rule versions of camera " + slug
	if err != nil {
		return nil, classify(attempted, err)
	}
	versions := make(map[string]int)
	var name string
	var version int
	_, err = pgx.ForEachRow(rows, []any{&name, &version}, func() error {
		versions[name] = version
		return nil
	})
	return versions, classify(attempted, err)
}

func notifyCameras(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, "SELECT pg_notify('"+cameraChannel+"', '')")
	return err
}
