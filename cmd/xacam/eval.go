package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

func newEvalCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "eval",
		Short: "Score events, detections or tracks against what people have written down",
		Args:  usageArgs(cobra.NoArgs),
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newEvalEventsCommand(), newEvalDetectionsCommand(), newEvalTracksCommand())
	return cmd
}

// limits are figures that a command was told to reach; those of flags that were
// not given are not looked at.
type limits struct {
	cmd    *cobra.Command
	values map[string]*float64
	most   map[string]bool // must not be exceeded
	shares map[string]bool // from 0 to 1
	order  []string
}

func newLimits(cmd *cobra.Command) *limits {
	return &limits{cmd: cmd, values: map[string]*float64{}, most: map[string]bool{}, shares: map[string]bool{}}
}

// least adds a flag --min-NAME for a share.
func (l *limits) least(name, what string) {
	l.add("min-"+name, "fail when "+what+" is smaller, from 0 to 1")
	l.shares["min-"+name] = true
}

// atMost adds a flag --max-NAME.
func (l *limits) atMost(name, what string) {
	l.add("max-"+name, "fail when "+what+" is larger")
	l.most["max-"+name] = true
}

func (l *limits) add(flag, usage string) {
	l.values[flag] = l.cmd.Flags().Float64(flag, 0, usage)
	l.order = append(l.order, flag)
}

// valid reports what cannot be meant.
func (l *limits) valid() error {
	for _, flag := range l.order {
		v := *l.values[flag]
		if l.cmd.Flags().Changed(flag) && (!(v >= 0) || l.shares[flag] && v > 1) {
			if l.shares[flag] {
				return usagef("--%s %g: give a share from 0 to 1", flag, v)
			}
			return usagef("--%s %g: give a number that is not negative", flag, v)
		}
	}
	return nil
}

// check compares the figures, by the names of their flags, with what was asked
// for. A figure of -1 stands for nothing to score, which reaches nothing.
func (l *limits) check(got map[string]float64) error {
	var errs []error
	for _, flag := range l.order {
		want := *l.values[flag]
		switch {
		case !l.cmd.Flags().Changed(flag):
		case l.most[flag] && got[flag] > want:
			errs = append(errs, fmt.Errorf("%s is %.4g, more than the %.4g of --%s", flag[len("max-"):], got[flag], want, flag))
		case !l.most[flag] && !(got[flag] >= want):
			errs = append(errs, fmt.Errorf("%s is %.4g, less than the %.4g of --%s", flag[len("min-"):], got[flag], want, flag))
		}
	}
	return errors.Join(errs...)
}

// writeJSONTo writes one indented document.
func writeJSONTo(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	return nil
}

// table writes rows of columns, the first row being the head; numbers stand
// right.
func table(w io.Writer, rows [][]string, left int) error {
	widths := make([]int, 0, 16)
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], len([]rune(cell)))
		}
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		cells := make([]string, len(row))
		for i, cell := range row {
			if cells[i] = cell; i >= left {
				cells[i] = strings.Repeat(" ", widths[i]-len([]rune(cell))) + cell
			}
		}
		if _, err := fmt.Fprintln(tw, strings.TrimRight(strings.Join(cells, "\t"), "\t ")); err != nil {
			return fmt.Errorf("write the table: %w", err)
		}
	}
	if err := tw.Flush(); err != nil {
		return fmt.Errorf("write the table: %w", err)
	}
	return nil
}

// figure writes a share with three decimals, "-" where there is nothing to score.
func figure(v float64) string {
	if v < 0 {
		return "-"
	}
	return fmt.Sprintf("%.3f", v)
}

// orNull is a figure for JSON: null where there is nothing to score.
func orNull(v float64) *float64 {
	if v < 0 {
		return nil
	}
	return &v
}
