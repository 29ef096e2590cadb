package pgstore

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrate brings the schema up to date. Concurrent callers, in other processes
// too, wait for each other for up to five minutes.
func (s *Store) Migrate(ctx context.Context) error {
	sub, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return fmt.Errorf("migrate the database: %w", err)
	}
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 300))
	if err != nil {
		return fmt.Errorf("migrate the database: %w", err)
	}
	db := stdlib.OpenDBFromPool(s.pool)
	defer db.Close()
	p, err := goose.NewProvider(goose.DialectPostgres, db, sub,
		goose.WithSessionLocker(locker), goose.WithDisableGlobalRegistry(true), goose.WithSlog(s.cfg.Log))
	if err != nil {
		return fmt.Errorf("migrate the database: %w", err)
	}
	results, err := p.Up(ctx)
	if err != nil {
		return classify("migrate the database", err)
	}
	for _, r := range results {
		s.cfg.Log.InfoContext(ctx, "database migrated", "version", r.Source.Version, "took", r.Duration)
	}
	return nil
}

// Partitions made ahead of the current month, and how far back a month may be
// for rows to be moved out of event_default. Older and later rows stay there.
const (
	monthsAhead = 3
	monthsBack  = 24
)

// partitionLock is the advisory lock of EnsurePartitions, an arbitrary number.
const partitionLock = 0x7861_6361_6d70

// EnsurePartitions makes the monthly partitions from the month before now to
// three months after it, and one for each month of the last two years that has
// rows in the default partition, which move. Call it at start and daily;
// concurrent calls wait for each other, commits wait at most for one month's
// move.
func (s *Store) EnsurePartitions(ctx context.Context, now time.Time) error {
	const attempted = "make event partitions"
	this := monthOf(now)
	months := make(map[time.Time]bool)
	for i := -1; i <= monthsAhead; i++ {
		months[this.AddDate(0, i, 0)] = true
	}
	rows, err := s.pool.Query(ctx, `
		SELECT DISTINCT date_trunc('month', occurred_at, 'UTC') FROM event_default
		WHERE occurred_at >= @from AND occurred_at < @to`,
		pgx.StrictNamedArgs{"from": this.AddDate(0, -monthsBack, 0), "to": this.AddDate(0, monthsAhead+1, 0)})
	if err != nil {
		return classify(attempted, err)
	}
	waiting, err := pgx.CollectRows(rows, pgx.RowTo[time.Time])
	if err != nil {
		return classify(attempted, err)
	}
	for _, m := range waiting {
		months[m.UTC()] = true
	}
	var errs []error
	for m := range months {
		errs = append(errs, classify(attempted, s.ensureMonth(ctx, m)))
	}
	return errors.Join(errs...)
}

func monthOf(t time.Time) time.Time {
	y, m, _ := t.UTC().Date()
	return time.Date(y, m, 1, 0, 0, 0, 0, time.UTC)
}

// ensureMonth makes one partition, unless it exists, and moves the rows of the
// month into it from event_default.
func (s *Store) ensureMonth(ctx context.Context, month time.Time) error {
	name := month.Format("event_y2006m01")
	if !regexp.MustCompile(`^event_y\d{4}m\d{2}$`).MatchString(name) {
		return fmt.Errorf("month %s has no partition", month)
	}
	return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", int64(partitionLock)); err != nil {
			return err
		}
		var exists bool
		if err := tx.QueryRow(ctx, "SELECT to_regclass($1) IS NOT NULL", name).Scan(&exists); err != nil || exists {
			return err
		}
		from, to := month.Format(time.RFC3339), month.AddDate(0, 1, 0).Format(time.RFC3339)
		// Identifiers and bounds of DDL cannot be parameters; both come from the
		// calendar. The lock on event_default keeps a commit from putting rows of
		// the month there after they were moved.
		for _, sql := range []string{
			"LOCK TABLE event_default IN ACCESS EXCLUSIVE MODE",
			"CREATE TABLE " + name + " (LIKE event_default INCLUDING DEFAULTS INCLUDING CONSTRAINTS)",
			"WITH moved AS (DELETE FROM event_default WHERE occurred_at >= '" + from + "' AND occurred_at < '" + to + "' RETURNING *)" +
				" INSERT INTO " + name + " SELECT * FROM moved",
			"ALTER TABLE event ATTACH PARTITION " + name + " FOR VALUES FROM ('" + from + "') TO ('" + to + "')",
		} {
			if _, err := tx.Exec(ctx, sql); err != nil {
				return fmt.Errorf("month %s: %w", month.Format("2006-01"), err)
			}
		}
		return nil
	})
}
