package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/xacam/xacam/events/evidence"
	"github.com/xacam/xacam/events/pgstore"
)

func newFsckCommand() *cobra.Command {
	var config string
	var repair, hash, force, newDisk bool
	cmd := &cobra.Command{
		Use:   "fsck [-c xacam.yaml] [--new-disk] [--repair] [--force] [--hash]",
		Short: "Compare pictures and clips with the database, both ways, and mend what can be mended",
		Long: `Compare the files of events with the database, both ways.

A file that is missing is noted as gone, and one of these that is back, as it was, as there; a file that belongs to no event is moved to lost+found in the media folder, from where it
may be deleted; what a crash left half written is deleted. A file that was changed is only reported. Without --repair nothing is
touched. The server may run meanwhile, but not with --repair. Exit code 1: something is wrong that was not mended.

The media folder bears a mark, the file .xacam-media, which the data folder remembers. Without it, or with another one, the disk
is taken for not mounted and nothing is looked at. After the disk was replaced by another one for good, --new-disk takes the folder
as it is. A folder without the files that came last, such as that of an empty disk, is taken with --force only: it may as well be the
one below a disk that is not mounted.`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := loadConfig(config)
			if err != nil {
				return err
			}
			if repair || newDisk {
				lock, err := lockDataDir(cfg.Data)
				if err != nil {
					return fmt.Errorf("repairs need the server to be stopped: %w", err)
				}
				defer lock.Close()
			}
			return withStore(cmd.Context(), cfg, cmd.ErrOrStderr(), func(ctx context.Context, s *pgstore.Store) error {
				if newDisk {
					if err := takeDisk(ctx, cfg.Data, s, force); err != nil {
						return err
					}
				}
				return fsck(ctx, cfg, s, fsckOptions{repair: repair, hash: hash, force: force}, cmd.OutOrStdout(), cmd.ErrOrStderr())
			})
		},
	}
	f := cmd.Flags()
	f.StringVarP(&config, "config", "c", "xacam.yaml", "configuration file of the server")
	f.BoolVar(&repair, "repair", false, "mend what can be mended; the server must not run")
	f.BoolVar(&force, "force", false, "with --repair or --new-disk: also when so many files are missing that the disk may not be mounted")
	f.BoolVar(&newDisk, "new-disk", false, "the media disk was replaced: take the media folder as it is now; the server must not run")
	f.BoolVar(&hash, "hash", false, "read every file and compare its SHA-256")
	return cmd
}

// takeDisk makes the media folder that there is the one that belongs to the data
// folder. One that has hardly anything of what it should have is only taken with
// force.
func takeDisk(ctx context.Context, data string, db evidence.Newest, force bool) error {
	store, err := evidence.Open(mediaDir(data))
	if err != nil {
		return err
	}
	if !force {
		err := store.Familiar(ctx, db, time.Now())
		if errors.Is(err, evidence.ErrNotMounted) {
			return fmt.Errorf("%w. Nothing was changed. Mount the disk first, then nothing else is needed; if it was really replaced, and its files are lost or still to be copied, add --force", err)
		}
		if err != nil {
			return err
		}
	}
	if err := os.Remove(markFile(data)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forget the mark of the media folder: %w", err)
	}
	return store.Mark(markFile(data))
}

type fsckOptions struct{ repair, hash, force bool }

// settled is how old a file must be before it is missed in the database: until
// then it may be on its way there.
const settled = 10 * time.Minute

func fsck(ctx context.Context, cfg *Config, db *pgstore.Store, o fsckOptions, out, progress io.Writer) error {
	store, err := openMedia(cfg.Data)
	if err != nil {
		return err
	}
	if o.repair && !o.force {
		err := evidence.Plausible(ctx, store, db)
		if errors.Is(err, evidence.ErrManyMissing) {
			return fmt.Errorf("%w; is the media disk mounted there? Nothing was changed. If the files are really lost, add --force", err)
		}
		if err != nil {
			return err
		}
	}
	if o.repair { // else what the next start would finish is taken for a leftover
		n, err := recoverDrafts(ctx, store)
		if err != nil { // the others are finished all the same
			fmt.Fprintf(out, "a package of an earlier run cannot be finished: %v\n", err)
		}
		if n > 0 {
			fmt.Fprintf(out, "finished %d packages that an earlier run had left\n", n)
		}
	}
	pending, err := pendingFiles(ctx, store)
	if err != nil && pending == nil {
		return err
	}
	if err != nil {
		fmt.Fprintf(out, "damaged: %v\n", err)
	}
	before := time.Now().Add(-settled)
	if o.repair { // nothing is on its way
		before = time.Now()
	}
	r, err := evidence.Check(ctx, evidence.CheckConfig{
		Store: store, Catalogue: db, Returns: db, Hash: o.hash, Repair: o.repair, Before: before,
		Pending:  pending,
		Progress: func(n int) { fmt.Fprintf(progress, "%d files looked at\n", n) },
	})
	if err != nil {
		return err
	}
	open := 0
	for _, p := range r.Problems {
		line := p.What + ": " + p.Path
		if p.EventID != "" {
			line += ", of event " + p.EventID
		}
		if p.Detail != "" {
			line += ": " + p.Detail
		}
		if p.Mended {
			line += " (mended)"
		} else {
			open++
		}
		fmt.Fprintln(out, line)
	}
	open += r.Total - len(r.Problems)
	rejected := rejectedEvents(filepath.Join(cfg.Data, "spool", "rejected"))
	for _, name := range rejected {
		fmt.Fprintf(out, "refused: spool/rejected/%s: the database refused this event; the file says why\n", name)
	}
	fmt.Fprintf(out, "%d files of events, %.1f MB; %d problems, %d of them mended; %d refused events\n",
		r.Files, float64(r.Bytes)/1e6, r.Total, r.Total-open, len(rejected))
	switch {
	case open > 0 && !o.repair:
		return errors.New("something is wrong; --repair mends what can be mended")
	case open > 0:
		return errors.New("some files were changed and cannot be mended; put them back from a backup, or keep them as they are")
	}
	return nil
}

// rejectedEvents lists what the spool put aside.
func rejectedEvents(dir string) []string {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) || err != nil {
		return nil
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}
