package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/xacam/xacam/models"
)

func newModelsCommand() *cobra.Command {
	var data string
	cmd := &cobra.Command{
		Use:   "models",
		Short: "List, download, check and add detection models",
		Args:  usageArgs(cobra.NoArgs),
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.PersistentFlags().StringVar(&data, "data", dataDir(), "data folder; models are in its folder models")
	cmd.AddCommand(
		&cobra.Command{
			Use:   "list",
			Short: "List the known models and whether their files are here and whole",
			Args:  usageArgs(cobra.NoArgs),
			RunE: func(cmd *cobra.Command, _ []string) error {
				cat, err := openCatalogue(data)
				if cat != nil {
					err = errors.Join(listModels(cmd.OutOrStdout(), cat), err)
				}
				return err
			},
		},
		&cobra.Command{
			Use:   "pull [NAME…]",
			Short: "Download models and check their checksums; without a name, the default one",
			RunE: func(cmd *cobra.Command, names []string) error {
				cat, err := openCatalogue(data)
				if err != nil {
					return usagef("%w", err)
				}
				if len(names) == 0 {
					names = []string{models.Default}
				}
				if err := makeDataDir(data); err != nil {
					return err
				}
				for _, name := range names {
					if err := pullModel(cmd.Context(), cat, name, cmd.ErrOrStderr()); err != nil {
						return err
					}
				}
				return nil
			},
		},
		&cobra.Command{
			Use:   "verify [NAME…]",
			Short: "Compare model files with their checksums; without a name, every one that is here",
			RunE: func(cmd *cobra.Command, names []string) error {
				cat, err := openCatalogue(data)
				if err != nil {
					return usagef("%w", err)
				}
				return verifyModels(cmd.OutOrStdout(), cat, names)
			},
		},
		newModelsAddCommand(&data),
	)
	return cmd
}

func listModels(w io.Writer, cat *models.Catalogue) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "NAME\tFAMILY\tINPUT\tLICENCE\tFILE\tDESCRIPTION")
	for _, s := range cat.List() {
		fmt.Fprintf(tw, "%s\t%s\t%dx%d\t%s\t%s\t%s\n",
			s.Name, s.Family, s.Input.Width, s.Input.Height, s.Licence, s.State, s.Description)
	}
	return tw.Flush()
}

func verifyModels(w io.Writer, cat *models.Catalogue, names []string) error {
	if len(names) == 0 {
		for _, s := range cat.List() {
			if s.State != models.Missing {
				names = append(names, s.Name)
			}
		}
	}
	if len(names) == 0 {
		return errors.New("no model file is here; fetch the default one with: xacam models pull")
	}
	var errs []error
	for _, name := range names {
		if err := cat.Verify(name); err != nil {
			errs = append(errs, unknownIsUsage(err))
			continue
		}
		fmt.Fprintf(w, "%s: ok\n", name)
	}
	return errors.Join(errs...)
}

func unknownIsUsage(err error) error {
	if errors.Is(err, models.ErrUnknown) {
		return usagef("%w", err)
	}
	return err
}

// pullModel downloads one model and shows the progress: a moving line on a
// terminal, a plain one every few seconds elsewhere.
func pullModel(ctx context.Context, cat *models.Catalogue, name string, w io.Writer) error {
	p := newProgress(w, name)
	path, err := cat.Pull(ctx, name, models.Config{Mirrors: modelMirrors(), Progress: p.update})
	p.end()
	if err != nil {
		return unknownIsUsage(err)
	}
	fmt.Fprintf(w, "%s: ready at %s\n", name, path)
	return nil
}

// progress reports the bytes of a download.
type progress struct {
	w        io.Writer
	name     string
	terminal bool
	last     time.Time
	shown    bool
}

func newProgress(w io.Writer, name string) *progress {
	f, ok := w.(*os.File)
	return &progress{w: w, name: name, terminal: ok && term.IsTerminal(int(f.Fd())), last: time.Now()}
}

func (p *progress) update(done, total int64) {
	every := 5 * time.Second
	if p.terminal {
		every = 100 * time.Millisecond
	}
	if time.Since(p.last) < every {
		return
	}
	p.last, p.shown = time.Now(), true
	line := fmt.Sprintf("%s: %.1f MB", p.name, float64(done)/1e6)
	if total > 0 {
		line = fmt.Sprintf("%s: %.1f of %.1f MB (%d%%)", p.name, float64(done)/1e6, float64(total)/1e6, 100*done/total)
	}
	if p.terminal {
		fmt.Fprint(p.w, "\r\033[K"+line)
	} else {
		fmt.Fprintln(p.w, line)
	}
}

func (p *progress) end() {
	if p.terminal && p.shown {
		fmt.Fprint(p.w, "\r\033[K")
	}
}
