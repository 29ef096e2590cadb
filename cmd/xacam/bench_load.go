package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/xacam/xacam/events"
)

func newBenchLoadCommand() *cobra.Command {
	var path string
	var rate float64
	cmd := &cobra.Command{
		Use:   "load -c xacam.yaml",
		Short: "Run the server and let it raise made-up events: for tests of what is behind it, never beside real ones",
		Args:  usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !(rate > 0 && rate <= 10_000) {
				return usagef("rate: %g is not above 0 and at most 10000 events a second", rate)
			}
			cfg, err := loadConfig(path)
			if err != nil {
				return err
			}
			srv, err := newServer(cmd.Context(), cfg, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			l := &load{rate: rate, run: rand.Text(), submit: srv.manager.deps.record.Submit, now: time.Now}
			srv.app.Add("made-up events", stageIngest, l.Run)
			return srv.Run(cmd.Context())
		},
	}
	f := cmd.Flags()
	f.StringVarP(&path, "config", "c", "xacam.yaml", "configuration file; its data folder should be a new one")
	f.Float64Var(&rate, "rate", 50, "events a second; each is cleared a second later")
	return cmd
}

// load raises events at an even pace, and clears each a second later.
type load struct {
	rate   float64
	run    string // tells the events of this start from those of others
	submit func([]events.Change)
	now    func() time.Time
}

// sources is how many cameras the events say they are of.
const sources = 10

// Run raises and clears until ctx is done. What is open then stays open.
func (l *load) Run(ctx context.Context) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	var open []events.Event
	began, n := l.now(), 0
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		now := l.now()
		var changes []events.Change
		for len(open) > 0 && now.Sub(open[0].OccurredAt) >= time.Second {
			ev := open[0]
			open = open[1:]
			ev.State, ev.ClearedAt = events.StateCleared, now.UTC().Truncate(time.Microsecond)
			changes = append(changes, events.Change{Event: ev})
		}
		for ; float64(n) < l.rate*now.Sub(began).Seconds(); n++ {
			ev := l.event(n, now)
			open = append(open, ev)
			changes = append(changes, events.Change{Event: ev})
		}
		if len(changes) > 0 {
			l.submit(changes)
		}
	}
}

func (l *load) event(n int, now time.Time) events.Event {
	at := now.UTC().Truncate(time.Microsecond)
	key := events.Key{
		Source: "made-up-" + strconv.Itoa(n%sources), Kind: "intrusion", Rule: "made-up", Zone: "made-up",
		Object: fmt.Sprintf("%s-%d", l.run, n),
	}
	// Every tenth is a camera's and gets a package of evidence; packages cost
	// some writes to disk each.
	source := "sensor"
	if n%10 == 0 {
		source = "camera"
	}
	severity := events.SeverityMedium
	if n%50 == 0 {
		severity = events.SeverityCritical
	}
	return events.Event{
		ID: events.NewID(key, at), Kind: key.Kind, State: events.StateRaised, Severity: severity,
		Source: events.Source{Type: source, ID: key.Source, Name: "Sự kiện thử", Hamlet: "thu"},
		Zone:   key.Zone, Rule: events.RuleRef{Name: key.Rule, Version: 1}, Object: key.Object, OccurredAt: at,
		Why:        events.Text{VI: "Sự kiện thử tải, không có thật.", EN: "A made-up event of a load test."},
		Attributes: map[string]any{"n": n}, Workflow: events.Workflow{State: "new"},
	}
}
