package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/outbox"
	"github.com/xacam/xacam/events/pgstore"
	"github.com/xacam/xacam/events/vault"
)

func newBenchStoreCommand() *cobra.Command {
	var o benchStoreOptions
	cmd := &cobra.Command{
		Use:   "store",
		Short: "Measure events a second into a new private database, with and without endpoints, and how long lists take among many events",
		Args:  usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.events < 1000 || o.events > 100_000_000 || o.seconds < 1 || o.batch < 1 || o.batch > 1000 {
				return usagef("give 1000 to 100000000 events, a second at least and batches of 1 to 1000")
			}
			res, err := benchStore(cmd, o)
			if err != nil {
				return err
			}
			return writeBench(cmd, o.out, res)
		},
	}
	f := cmd.Flags()
	f.IntVar(&o.events, "events", 200_000, "events that lists are measured among; DESIGN speaks of 10000000, which takes about an hour and 15 GB")
	f.IntVar(&o.seconds, "seconds", 10, "length of each run")
	f.IntVar(&o.batch, "batch", 100, "events in one commit")
	f.StringVar(&o.dir, "dir", "", "folder for the database, for a disk of your choice; a temporary one when not given")
	f.StringVar(&o.out, "out", "", "file to write; standard output when not given")
	return cmd
}

type benchStoreOptions struct {
	events, seconds, batch int
	dir, out               string
}

// benchStoreResult is what bench store prints.
type benchStoreResult struct {
	Cores   int           `json:"cores"`
	Commits []benchCommit `json:"commits"`
	Events  int64         `json:"events_in_lists"`
	LoadS   float64       `json:"load_seconds"`
	Lists   []benchList   `json:"lists"`
}

type benchCommit struct {
	Endpoints int     `json:"endpoints"`
	Batch     int     `json:"batch"`
	Events    int     `json:"events"`
	PerSecond float64 `json:"events_per_second"`
	P50Ms     float64 `json:"commit_p50_ms"`
	P99Ms     float64 `json:"commit_p99_ms"`
}

type benchList struct {
	Name  string  `json:"list"`
	Asked int     `json:"asked"`
	P50Ms float64 `json:"p50_ms"`
	P95Ms float64 `json:"p95_ms"`
	MaxMs float64 `json:"max_ms"`
}

// writeBench writes a result as JSON.
func writeBench(cmd *cobra.Command, out string, res any) error {
	return writeOut(out, cmd.OutOrStdout(), func(w io.Writer) error {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(res)
	})
}

// benchDir makes a data folder that is removed in the end.
func benchDir(parent string) (dir string, remove func() error, err error) {
	if dir, err = os.MkdirTemp(parent, "xacam-bench-"); err != nil {
		return "", nil, err
	}
	if err := os.Chmod(dir, 0o711); err != nil { //nolint:gosec // the private database runs as another user
		return "", nil, errors.Join(err, os.RemoveAll(dir))
	}
	return dir, func() error { return os.RemoveAll(dir) }, nil
}

func benchStore(cmd *cobra.Command, o benchStoreOptions) (res *benchStoreResult, err error) {
	dir, remove, err := benchDir(o.dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, remove()) }()
	cfg := defaultConfig()
	cfg.Data = filepath.Join(dir, "data")
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	res = &benchStoreResult{Cores: runtime.NumCPU()}
	log := cmd.ErrOrStderr()
	err = withKeys(cmd.Context(), cfg, log, func(ctx context.Context, s *pgstore.Store, _ *vault.Vault) error {
		for n, endpoints := range []int{0, 1, 3} {
			for _, batch := range slices.Compact([]int{1, o.batch}) {
				c, err := benchCommits(ctx, s, endpoints, batch, n, time.Duration(o.seconds)*time.Second)
				if err != nil {
					return err
				}
				res.Commits = append(res.Commits, c)
				fmt.Fprintf(log, "%d endpoints, batches of %d: %.0f events/s, a commit takes p50 %.1f ms, p99 %.1f ms\n", endpoints, batch, c.PerSecond, c.P50Ms, c.P99Ms)
			}
		}
		if err := benchFill(ctx, s, o.events, res); err != nil {
			return err
		}
		fmt.Fprintf(log, "%d events loaded in %.0f s\n", res.Events, res.LoadS)
		return benchLists(ctx, s, res, log)
	})
	return res, err
}

// benchCommits commits events one batch after the other.
func benchCommits(ctx context.Context, s *pgstore.Store, endpoints, batch, run int, d time.Duration) (benchCommit, error) {
	list := make([]outbox.Endpoint, endpoints)
	for i := range list {
		e, err := outbox.Spec{Name: "bench-" + strconv.Itoa(i), URL: "https://receiver.invalid/"}.Endpoint()
		if err != nil {
			return benchCommit{}, err
		}
		list[i] = e
	}
	if _, _, err := s.ReplaceEndpoints(ctx, list, true, outbox.Act{By: "bench"}); err != nil {
		return benchCommit{}, err
	}
	l := &load{run: fmt.Sprintf("%d-%d", run, batch)}
	var took []time.Duration
	n, began := 0, time.Now()
	for time.Since(began) < d {
		changes := make([]events.Change, batch)
		for i := range changes {
			ev := l.event(n, time.Now())
			ev.Evidence = []events.EvidenceRef{{Type: "snapshot", Path: "bench/" + ev.ID + ".jpg", SHA256: strings.Repeat("0a", 32), Bytes: 150_000}}
			changes[i] = events.Change{Event: ev}
			n++
		}
		start := time.Now()
		if err := s.Commit(ctx, changes); err != nil {
			return benchCommit{}, err
		}
		took = append(took, time.Since(start))
	}
	wall := time.Since(began).Seconds()
	slices.Sort(took)
	return benchCommit{
		Endpoints: endpoints, Batch: batch, Events: n, PerSecond: float64(n) / wall,
		P50Ms: quantile(took, .5), P99Ms: quantile(took, .99),
	}, nil
}

// quantile of sorted durations, in milliseconds; 0 when there are none.
func quantile(sorted []time.Duration, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return float64(sorted[min(len(sorted)-1, int(float64(len(sorted))*q))].Microseconds()) / 1000
}

// benchFill loads n events of the year before now.
func benchFill(ctx context.Context, s *pgstore.Store, n int, res *benchStoreResult) error {
	now := time.Now().UTC().Truncate(time.Second)
	for months := range 14 {
		if err := s.EnsurePartitions(ctx, now.AddDate(0, -months, 0)); err != nil {
			return err
		}
	}
	began := time.Now()
	stored, err := s.Load(ctx, madeUpYear(n, now))
	if err != nil {
		return err
	}
	res.Events, res.LoadS = stored, time.Since(began).Seconds()
	return s.Analyse(ctx)
}

// madeUpYear returns n events of 30 cameras over the year before end, skewed as
// in life: few kinds are frequent, one camera fell silent half a year ago, and
// one event in a thousand is open.
func madeUpYear(n int, end time.Time) iter.Seq[events.Event] {
	kinds := []events.Kind{"line_crossing", "line_crossing", "line_crossing", "intrusion", "loitering", "crowd", "wrong_way", "camera_offline"}
	zones := []string{"", "san-cho", "duong", "cau", "ben-tau"}
	return func(yield func(events.Event) bool) {
		step := 360 * 24 * time.Hour / time.Duration(n)
		l := &load{run: "year"}
		for i := range n {
			h := uint64(i) * 0x9e3779b97f4a7c15 >> 20
			ev := l.event(i, end.Add(-time.Duration(n-i)*step))
			cameras := uint64(30)
			if i > n/2 {
				cameras = 29
			}
			ev.Kind, ev.Zone, ev.Source.ID = kinds[h%8], zones[h/8%5], "cam"+strconv.FormatUint(h/40%cameras, 10)
			ev.Severity = events.Severities()[h/7%4]
			if h%5000 == 0 {
				ev.Severity = events.SeverityCritical
			}
			if h%1000 != 0 {
				ev.State, ev.ClearedAt = events.StateCleared, ev.OccurredAt.Add(40*time.Second)
			}
			ev.Subject = &events.Subject{Track: h % 1000, Class: "person", Score: .8, Box: [4]float64{.41, .52, .47, .79}}
			ev.ID = events.NewID(ev.Key(), ev.OccurredAt)
			ev.Evidence = []events.EvidenceRef{{Type: "snapshot", Path: "year/" + ev.ID + ".jpg", SHA256: strings.Repeat("0a", 32), Bytes: 150_000}}
			if !yield(ev) {
				return
			}
		}
	}
}

// benchLists measures lists as the console asks for them; DESIGN §8: p95 within
// 50 ms.
func benchLists(ctx context.Context, s *pgstore.Store, res *benchStoreResult, log io.Writer) error {
	middle, err := s.Events(ctx, events.Filter{To: time.Now().AddDate(0, -6, 0)}, events.Page{Limit: 1})
	if err != nil || len(middle) == 0 {
		return errors.Join(err, errors.New("there are no events of half a year ago"))
	}
	day := time.Now().AddDate(0, -3, 0)
	for _, l := range []struct {
		name   string
		filter events.Filter
		before string
	}{
		{"newest", events.Filter{}, ""},
		{"page in the middle", events.Filter{}, middle[0].ID},
		{"a day", events.Filter{From: day, To: day.AddDate(0, 0, 1)}, ""},
		{"a camera", events.Filter{Sources: []string{"cam3"}}, ""},
		{"a camera that fell silent", events.Filter{Sources: []string{"cam29"}}, ""},
		{"two cameras", events.Filter{Sources: []string{"cam3", "cam29"}}, ""},
		{"a kind", events.Filter{Kinds: []events.Kind{"crowd"}}, ""},
		{"critical", events.Filter{Severities: []events.Severity{events.SeverityCritical}}, ""},
		{"open", events.Filter{States: []events.State{events.StateRaised}}, ""},
		{"a zone and a kind", events.Filter{Zones: []string{"cau"}, Kinds: []events.Kind{"wrong_way"}}, ""},
	} {
		var took []time.Duration
		for began := time.Now(); len(took) < 200 && (len(took) < 20 || time.Since(began) < 10*time.Second); {
			start := time.Now()
			if _, err := s.Events(ctx, l.filter, events.Page{Before: l.before, Limit: 50}); err != nil {
				return err
			}
			took = append(took, time.Since(start))
		}
		slices.Sort(took)
		b := benchList{Name: l.name, Asked: len(took), P50Ms: quantile(took, .5), P95Ms: quantile(took, .95), MaxMs: quantile(took, 1)}
		res.Lists = append(res.Lists, b)
		fmt.Fprintf(log, "list %s: p50 %.1f ms, p95 %.1f ms, max %.1f ms\n", b.Name, b.P50Ms, b.P95Ms, b.MaxMs)
	}
	return nil
}
