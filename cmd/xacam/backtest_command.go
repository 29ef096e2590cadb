package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/pgstore"
	"github.com/xacam/xacam/events/schedule"
	"github.com/xacam/xacam/vision/backtest"
	"github.com/xacam/xacam/vision/camera"
)

// backtestOptions are the flags of backtest.
type backtestOptions struct {
	data, config, camera, name  string
	rule, rules, from, to, lang string
	days                        float64
	examples                    int
	json                        bool
}

func newBacktestCommand() *cobra.Command {
	var o backtestOptions
	cmd := &cobra.Command{
		Use:   "backtest --camera SLUG|FILE [--rule NAME | --rules FILE] [--days N] [--json]",
		Short: "Say what rules would have raised in the last days, from stored tracks, without video",
		Args:  usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.from != "" && cmd.Flags().Changed("days") {
				return usagef("--days and --from: give one of them")
			}
			return backtestCommand(cmd, o)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.data, "data", dataDir(), "data folder of the server, which may be running")
	f.StringVarP(&o.config, "config", "c", "", "configuration file of the server: its data folder, time zone and holidays, and what its rules raised, for comparison")
	f.StringVar(&o.camera, "camera", "", "slug of a camera of the server, or a camera file (required)")
	f.StringVar(&o.name, "name", "", "slug of the camera to use, if the file has several")
	f.StringVar(&o.rule, "rule", "", "name of one of the rules; all of them when not given")
	f.StringVar(&o.rules, "rules", "", "file with rules, and zones and lines if they need others, as in a camera file, to try in place of the camera's")
	f.Float64Var(&o.days, "days", 7, "how many days back")
	f.StringVar(&o.from, "from", "", "beginning, RFC 3339, in place of --days")
	f.StringVar(&o.to, "to", "", "end, RFC 3339; default now")
	f.IntVar(&o.examples, "examples", 5, "events to show for each rule, 1 to 100")
	f.StringVar(&o.lang, "lang", "vi", "language of the table, vi or en")
	f.BoolVar(&o.json, "json", false, "write JSON, as the API does")
	mustRequire(cmd, "camera")
	return cmd
}

// backtestCommand runs the command.
func backtestCommand(cmd *cobra.Command, o backtestOptions) error {
	cfg := defaultConfig()
	cfg.Data = o.data
	if o.config != "" {
		var err error
		if cfg, err = loadConfig(o.config); err != nil {
			return err
		}
	} else if err := cfg.validate(); err != nil {
		return &usageError{err}
	}
	w, known := backtestWords()[o.lang]
	if !known {
		return usagef("--lang %q: choose vi or en", o.lang)
	}
	q, err := o.request(cfg, cmd.InOrStdin(), time.Now())
	if err != nil {
		return err
	}
	endProgress := showProgress(cmd.ErrOrStderr(), &q)
	result, err := o.run(cmd.Context(), cfg, q, cmd.ErrOrStderr())
	endProgress()
	if _, ok := errors.AsType[*events.FieldError](err); ok {
		return &usageError{err}
	}
	if err != nil {
		return err
	}
	if o.json {
		enc := json.NewEncoder(cmd.OutOrStdout())
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		return enc.Encode(result)
	}
	return w.table(cmd.OutOrStdout(), result)
}

// run compares with the events of the database where the configuration says
// which.
func (o backtestOptions) run(ctx context.Context, cfg *Config, q backtest.Request, stderr io.Writer) (*backtest.Result, error) {
	dir := tracksDir(cfg.Data)
	if o.config == "" {
		return runBacktest(ctx, nil, dir, nil, q)
	}
	var out *backtest.Result
	err := withStore(ctx, cfg, stderr, func(ctx context.Context, s *pgstore.Store) (err error) {
		out, err = runBacktest(ctx, nil, dir, s, q)
		return err
	})
	return out, err
}

// request makes the request of the flags.
func (o backtestOptions) request(cfg *Config, stdin io.Reader, now time.Time) (backtest.Request, error) {
	q := backtest.Request{
		To: now, Examples: o.examples, Calendar: schedule.Calendar{Location: cfg.location, Holidays: cfg.holidays},
	}
	if o.examples < 1 || o.examples > backtest.MaxExamples {
		return q, usagef("--examples: must be from 1 to %d", backtest.MaxExamples)
	}
	var err error
	if o.to != "" {
		if q.To, err = time.Parse(time.RFC3339, o.to); err != nil {
			return q, usagef("--to %q: give a time such as %s", o.to, replayStart)
		}
	}
	q.From = q.To.Add(-time.Duration(o.days * 24 * float64(time.Hour)))
	if o.from != "" {
		if q.From, err = time.Parse(time.RFC3339, o.from); err != nil {
			return q, usagef("--from %q: give a time such as %s", o.from, replayStart)
		}
	}
	if !q.From.Before(q.To) || q.To.Sub(q.From) > backtest.MaxRange {
		return q, usagef("the range must end after it begins, and have at most %d days", int(backtest.MaxRange.Hours()/24))
	}
	if q.File, q.Versions, err = o.file(cfg, stdin); err != nil {
		return q, err
	}
	if o.rules != "" {
		if err := o.take(&q.File, stdin); err != nil {
			return q, err
		}
	}
	if o.rule != "" {
		q.Rules = []string{o.rule}
	}
	if err := q.File.Validate(); err != nil {
		return q, &usageError{err}
	}
	return q, nil
}

// file returns the camera: from a file, or as the server of the data folder last
// knew it.
func (o backtestOptions) file(cfg *Config, stdin io.Reader) (camera.File, map[string]int, error) {
	if _, err := os.Stat(o.camera); err == nil || o.camera == "-" {
		f, err := oneCamera(replayOptions{camera: o.camera, replayOnly: o.name}, stdin)
		return f, nil, err
	}
	path := filepath.Join(cfg.Data, "cameras.json")
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return camera.File{}, nil, usagef("%s is no file, and no server has run on the data folder %s; name another one with --data or -c", o.camera, cfg.Data)
	}
	if err != nil {
		return camera.File{}, nil, fmt.Errorf("read the server's cameras: %w", err)
	}
	var stored []storedCamera
	if err := json.Unmarshal(b, &stored); err != nil {
		return camera.File{}, nil, fmt.Errorf("read the server's cameras: %w", err)
	}
	for _, c := range stored {
		if c.Slug == o.camera {
			f, err := camera.DecodeJSON(c.Spec)
			return f, c.Versions, err
		}
	}
	return camera.File{}, nil, usagef("the server of %s has no camera %q, and there is no such file", cfg.Data, o.camera)
}

// take puts the rules of a file, and its zones and lines, in place of the
// camera's.
func (o backtestOptions) take(f *camera.File, stdin io.Reader) error {
	files, err := parseCameras(o.rules, stdin)
	if err != nil {
		return err
	}
	if len(files) != 1 || len(files[0].Rules) == 0 {
		return usagef("%s: must have one list of rules", o.rules)
	}
	f.Rules = files[0].Rules
	f.Zones, f.Lines = merged(f.Zones, files[0].Zones), merged(f.Lines, files[0].Lines)
	return nil
}
