package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// App is the server: the tasks it is made of.
type App struct {
	tasks []task
}

// task is a long-lived part of the server.
type task struct {
	name  string
	stage stage
	run   func(context.Context) error
}

type stage int

// Stages of a shutdown: each ends before the next is asked to.
const (
	stageIngest  stage = iota // stop taking frames
	stageProcess              // finish what was taken
	stageRecord               // write the snapshots of what was found
	stageDeliver              // bring the events into the store, or onto the disk
	stageServe                // close the API late, so that health can be seen
	stageStore                // stop the private database last
	numStages
)

// errStuck marks that a part of the server did not stop in time and may still
// use what others left.
var errStuck = errors.New("did not stop in time")

// Add adds a task. Run starts it.
func (a *App) Add(name string, s stage, run func(context.Context) error) {
	a.tasks = append(a.tasks, task{name, s, run})
}

// Run runs everything until ctx is done or a task fails, then stops stage by
// stage. All of them together have grace, but each a tenth of it at least, so
// that a part that hangs does not keep the others from saving what they have;
// the error then wraps errStuck. It returns the first failure.
func (a *App) Run(ctx context.Context, grace time.Duration) error {
	type group struct {
		cancel context.CancelCauseFunc
		tasks  *errgroup.Group
	}
	failed := make(chan error, len(a.tasks))
	groups := make([]group, numStages)
	for i := range groups {
		sctx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
		groups[i] = group{cancel, new(errgroup.Group)}
		for _, t := range a.tasks {
			if t.stage != stage(i) {
				continue
			}
			groups[i].tasks.Go(func() error {
				err := t.run(sctx)
				if err != nil {
					err = fmt.Errorf("%s: %w", t.name, err)
				} else if sctx.Err() == nil {
					err = fmt.Errorf("%s ended early", t.name)
				}
				if err != nil {
					failed <- err
				}
				return err
			})
		}
	}
	var errs []error
	select {
	case <-ctx.Done():
	case err := <-failed:
		errs = append(errs, err)
	}
	end := time.Now().Add(grace)
	for i, g := range groups {
		g.cancel(errors.New("shutting down"))
		done := make(chan error, 1)
		go func() { done <- g.tasks.Wait() }()
		select {
		case err := <-done:
			if err != nil && !slices.ContainsFunc(errs, func(e error) bool { return errors.Is(e, err) }) {
				errs = append(errs, err)
			}
		case <-time.After(max(time.Until(end), grace/10)):
			errs = append(errs, fmt.Errorf("%s: %w", a.names(stage(i)), errStuck))
		}
	}
	return errors.Join(errs...)
}

// names lists the tasks of a stage.
func (a *App) names(s stage) string {
	var names []string
	for _, t := range a.tasks {
		if t.stage == s {
			names = append(names, t.name)
		}
	}
	return strings.Join(names, ", ")
}
