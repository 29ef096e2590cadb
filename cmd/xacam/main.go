// Command xacam is the camera-analytics server of a commune: it watches RTSP
// cameras, finds and follows what moves, and reports events.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	_ "time/tzdata" // a small box may have no time zones installed

	"github.com/spf13/cobra"
)

// version is set at build time with -ldflags "-X main.version=…".
var version = "dev"

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2 // bad usage or configuration
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := execute(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// execute runs one command line and returns its exit code. Errors are written
// to stderr, one line a problem.
func execute(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	cmd := newRoot() //nolint:contextcheck // commands get theirs from ExecuteContext
	cmd.SetArgs(args)
	cmd.SetIn(stdin)
	cmd.SetOut(stdout)
	cmd.SetErr(stderr)
	err := cmd.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = errors.New("interrupted; nothing was completed")
	}
	for line := range strings.Lines(err.Error()) {
		fmt.Fprintln(stderr, "xacam: "+strings.TrimRight(line, "\n"))
	}
	if errors.As(err, new(*usageError)) || isCobraUsage(err) {
		return exitUsage
	}
	return exitFailed
}

// isCobraUsage recognises the usage errors that cobra makes itself and gives
// no type: a missing flag and an unknown command.
func isCobraUsage(err error) bool {
	return strings.HasPrefix(err.Error(), "required flag(s) ") || strings.HasPrefix(err.Error(), "unknown command ")
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "xacam",
		Short:         "Camera analytics for a commune: cameras in, events out",
		Version:       version,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return cmd.Help()
		},
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usagef("%w; see %s --help", err, cmd.CommandPath())
	})
	root.AddCommand(
		newDemoCommand(), newServeCommand(), newReplayCommand(), newProbeCommand(), newSimCommand(),
		newDetectCommand(), newTrackCommand(), newBacktestCommand(), newEvalCommand(), newBenchCommand(), newModelsCommand(),
		newApplyCommand(), newExportCommand(), newCheckConfigCommand(), newMigrateCommand(), newFsckCommand(),
		newAuditCommand(), newFeedKeyCommand(),
	)
	return root
}

// usageError is bad usage or configuration, exit code 2.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

// usageArgs makes a wrong number of arguments bad usage.
func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return usagef("%w; usage: %s", err, cmd.UseLine())
		}
		return nil
	}
}
