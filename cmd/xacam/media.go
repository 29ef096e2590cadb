package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/evidence"
	"github.com/xacam/xacam/vision/behaviour"
)

// MediaConfig says for how long pictures and clips of events are kept. The
// events themselves stay.
type MediaConfig struct {
	Days    int           `yaml:"days"`
	GB      float64       `yaml:"max_gb"`      // of all together, 10⁹ bytes; 0 is no limit
	FreeGB  float64       `yaml:"min_free_gb"` // of the disk; 0 is 1 GB or a twentieth, whichever is less
	Classes []ClassConfig `yaml:"classes"`
}

// ClassConfig is another time for some events.
type ClassConfig struct {
	Name       string            `yaml:"name"`
	Kinds      []events.Kind     `yaml:"kinds"`
	Severities []events.Severity `yaml:"severities"`
	Verdicts   []string          `yaml:"verdicts"`
	Days       int               `yaml:"days"`
}

const maxDays = 36_500

// validate reports what is wrong.
func (c MediaConfig) validate(bad func(field, format string, args ...any)) {
	days := func(field string, n int) {
		if n < 1 || n > maxDays {
			bad(field, "%d is not between 1 and %d", n, maxDays)
		}
	}
	days("media.days", c.Days)
	if !(c.GB == 0 || c.GB >= 0.1 && c.GB <= 1e6) {
		bad("media.max_gb", "%g is not 0 (no limit) or between 0.1 and 1000000", c.GB)
	}
	if !(c.FreeGB >= 0 && c.FreeGB <= 1e6) {
		bad("media.min_free_gb", "%g is not between 0 and 1000000", c.FreeGB)
	}
	kinds := append(behaviour.Kinds(), events.KindCameraOffline)
	names := map[string]bool{}
	for i, class := range c.Classes {
		at := fmt.Sprintf("media.classes[%d].", i)
		if class.Name == "" || names[class.Name] {
			bad(at+"name", "%q is empty or used twice", class.Name)
		}
		names[class.Name] = true
		days(at+"days", class.Days)
		if len(class.Kinds)+len(class.Severities)+len(class.Verdicts) == 0 {
			bad(at+"kinds", "name kinds, severities or verdicts; for all events there is media.days")
		}
		for _, k := range class.Kinds {
			if !slices.Contains(kinds, k) {
				bad(at+"kinds", "%q is not one of %v", k, kinds)
			}
		}
		for _, s := range class.Severities {
			if !slices.Contains(events.Severities(), s) {
				bad(at+"severities", "%q is not one of %v", s, events.Severities())
			}
		}
		verdicts := []string{"confirmed", "false_alarm", "other"}
		for _, v := range class.Verdicts {
			if !slices.Contains(verdicts, v) {
				bad(at+"verdicts", "%q is not one of %v", v, verdicts)
			}
		}
	}
}

// policy returns c for the keeper.
func (c MediaConfig) policy() evidence.Policy {
	const day = 24 * time.Hour
	p := evidence.Policy{Keep: time.Duration(c.Days) * day, MaxBytes: int64(c.GB * 1e9), MinFree: int64(c.FreeGB * 1e9)}
	for _, class := range c.Classes {
		p.Classes = append(p.Classes, evidence.Class{
			Name: class.Name, Kinds: class.Kinds, Severities: class.Severities, Verdicts: class.Verdicts,
			Keep: time.Duration(class.Days) * day,
		})
	}
	return p
}

// mediaDir returns the folder of pictures and clips below a data folder.
func mediaDir(data string) string { return filepath.Join(data, "media") }

// markFile remembers the mark of the media folder.
func markFile(data string) string { return filepath.Join(data, "media.mark") }

// openMedia opens the media folder for somebody who only looks, or mends. While
// its disk is not mounted it says so.
func openMedia(data string) (*evidence.Store, error) {
	store, err := evidence.Open(mediaDir(data))
	if err != nil {
		return nil, err
	}
	if err := store.Expect(markFile(data)); err != nil {
		return nil, err
	}
	err = store.Mounted()
	if errors.Is(err, evidence.ErrNotMounted) {
		return nil, fmt.Errorf("%w; mount it and try again. Only if it was really replaced by another one, xacam fsck --new-disk takes that", err)
	}
	if err != nil {
		return nil, err
	}
	return store, nil
}

const (
	noMark     = "a media disk that is not mounted will not be noticed"
	adoptEvery = 5 * time.Second // looks whether the right disk is there now
)

// adopt gives the media folder its mark at the first start, as soon as the database
// tells whether it is the right one and not the empty one below a disk that is not
// mounted. It returns early when ctx is done.
func (s *server) adopt(ctx context.Context, store *evidence.Store, started time.Time) {
	if !errors.Is(store.Certain(), evidence.ErrUnclaimed) {
		return
	}
	select {
	case <-ctx.Done():
		return
	case <-s.db.Ready():
	}
	for said := false; ; {
		err := store.Adopt(ctx, markFile(s.cfg.Data), s.db, started)
		switch {
		case err == nil:
			return
		case !errors.Is(err, events.ErrUnavailable):
			s.log.WarnContext(ctx, noMark, "err", err)
			return
		case errors.Is(err, evidence.ErrNotMounted) && !said:
			said = true
			s.log.ErrorContext(ctx, "the media folder is not the one that the database knows", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(adoptEvery):
		}
	}
}

// cleanUp removes what an earlier run left half written, when it is known that the
// folder is the right one, and waits for ctx.
func (s *server) cleanUp(ctx context.Context, store *evidence.Store, started time.Time) {
	s.adopt(ctx, store, started)
	n, err := store.Sweep(ctx, started)
	switch {
	case ctx.Err() != nil:
	case err != nil:
		s.log.WarnContext(ctx, "half-written pictures of an earlier run could not be removed", "err", err)
	case n > 0:
		s.log.InfoContext(ctx, "removed half-written pictures of an earlier run", "files", n)
	}
	<-ctx.Done()
}

// openMediaRoot opens the media folder for the API, anew each time: when a disk is
// mounted, an open folder stays the empty one below it.
func openMediaRoot(store *evidence.Store, dir string) (*os.Root, error) {
	if err := store.Mounted(); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open the media folder: %w", err)
	}
	return root, nil
}

// storageSource is what alarms about the disk of the media come from.
func storageSource() events.Source {
	return events.Source{Type: "system", ID: "storage", Name: "Lưu trữ hình ảnh và video"}
}

// newKeeper returns the task that keeps the media folder within its policy and
// tells how the disk is.
func (s *server) newKeeper(store *evidence.Store) (*evidence.Keeper, error) {
	return evidence.NewKeeper(evidence.KeeperConfig{
		Store: store, Catalogue: s.db, Policy: s.cfg.Media.policy(), Log: s.log, Registerer: s.registry,
		Pending: func(ctx context.Context) (func(string) bool, error) {
			pending, err := pendingFiles(ctx, store)
			if pending != nil { // one draft that cannot be read must not keep the disk full
				err = nil
			}
			return pending, err
		},
		Health: func(h evidence.Health) {
			var signal *events.Signal
			if sig, on := h.Signal(storageSource().ID); on {
				signal = &sig
			}
			s.alarms.Set(storageSource(), signal)
		},
	})
}
