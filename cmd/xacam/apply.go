package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/xacam/xacam/events/pgstore"
	"github.com/xacam/xacam/events/vault"
	"github.com/xacam/xacam/vision/camera"
)

func newApplyCommand() *cobra.Command {
	var config, file string
	var prune, dryRun bool
	cmd := &cobra.Command{
		Use:   "apply -f cameras.yaml",
		Short: "Bring cameras, zones, rules and endpoints from a file into the database; a running server follows at once",
		Args:  usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := loadConfig(config)
			if err != nil {
				return err
			}
			files, err := readApply(file, cmd.InOrStdin())
			if err != nil {
				return err
			}
			if dryRun {
				fmt.Fprintf(cmd.OutOrStdout(), "%d cameras and %d endpoints are valid; nothing was changed\n", len(files.cameras), len(files.endpoints))
				return nil
			}
			return withKeys(cmd.Context(), cfg, cmd.ErrOrStderr(), func(ctx context.Context, s *pgstore.Store, _ *vault.Vault) error {
				if len(files.cameras) > 0 {
					if err := applyCameras(ctx, s, files.cameras, prune, cmd.OutOrStdout()); err != nil {
						return err
					}
				}
				return applyEndpoints(ctx, s, files.endpoints, prune, cmd.OutOrStdout())
			})
		},
	}
	f := cmd.Flags()
	f.StringVarP(&config, "config", "c", "xacam.yaml", "configuration file of the server")
	f.StringVarP(&file, "file", "f", "", "file of cameras and endpoints, YAML; - is standard input (required)")
	f.BoolVar(&prune, "prune", false, "delete the cameras that are not in the file, if it has any, and so with endpoints")
	f.BoolVar(&dryRun, "dry-run", false, "only check the file")
	mustRequire(cmd, "file")
	return cmd
}

// readApply reads and checks a file of cameras and endpoints. Every problem is
// reported, with its path; all are exit code 2.
func readApply(path string, stdin io.Reader) (*applyFile, error) {
	b, err := readInput(path, stdin, camera.MaxBytes+1)
	if err != nil {
		return nil, usagef("read the camera file: %w", err)
	}
	files, err := parseApply(b)
	if err != nil {
		return nil, usagef("%s: %w", path, err)
	}
	if len(files.cameras) > 0 {
		if err := camera.ValidateAll(files.cameras); err != nil {
			return nil, &usageError{err}
		}
	}
	return files, nil
}

// parseCameras reads a camera file without checking what it says.
func parseCameras(path string, stdin io.Reader) ([]camera.File, error) {
	b, err := readInput(path, stdin, camera.MaxBytes+1)
	if err != nil {
		return nil, usagef("read the camera file: %w", err)
	}
	files, err := camera.Parse(b)
	if err != nil {
		return nil, usagef("%s: %w", path, err)
	}
	return files, nil
}

// readInput reads a file, or up to limit bytes of stdin where path is "-".
func readInput(path string, stdin io.Reader, limit int64) ([]byte, error) {
	if path == "-" {
		return io.ReadAll(io.LimitReader(stdin, limit))
	}
	return os.ReadFile(path)
}

// applyCameras stores all of the cameras or none, and says what changed.
func applyCameras(ctx context.Context, s *pgstore.Store, files []camera.File, prune bool, w io.Writer) error {
	before, err := s.Cameras(ctx)
	if err != nil {
		return err
	}
	had := make(map[string]int, len(before))
	for _, c := range before {
		had[c.Slug] = c.Version
	}
	inputs := make([]pgstore.CameraInput, len(files))
	for i, f := range files {
		if inputs[i], err = cameraInput(f); err != nil {
			return err
		}
	}
	var versions map[string]int
	var deleted []string
	if prune {
		versions, deleted, err = s.ReplaceCameras(ctx, inputs)
	} else {
		versions, err = s.PutCameras(ctx, inputs)
	}
	if err != nil {
		return err
	}
	for _, in := range inputs {
		what := "unchanged"
		switch old, ok := had[in.Slug]; {
		case !ok:
			what = "added"
		case old != versions[in.Slug]:
			what = "changed"
		}
		fmt.Fprintf(w, "%s: %s, version %d\n", in.Slug, what, versions[in.Slug])
	}
	for _, slug := range deleted {
		fmt.Fprintf(w, "%s: deleted\n", slug)
	}
	return nil
}

func newExportCommand() *cobra.Command {
	var config, out string
	var redact bool
	cmd := &cobra.Command{
		Use:   "export [CAMERA|ENDPOINT…]",
		Short: "Write the cameras and endpoints in the database as the YAML that apply reads, passwords and secrets included",
		RunE: func(cmd *cobra.Command, slugs []string) error {
			return withConfiguredKeys(cmd, config, func(ctx context.Context, s *pgstore.Store, _ *vault.Vault) error {
				text, err := exportAll(ctx, s, slugs, !redact)
				if err != nil {
					return err
				}
				return writeOut(out, cmd.OutOrStdout(), func(w io.Writer) error {
					_, err := w.Write(text)
					return err
				})
			})
		},
	}
	f := cmd.Flags()
	f.StringVarP(&config, "config", "c", "xacam.yaml", "configuration file of the server")
	f.StringVarP(&out, "out", "o", "", "file to write, readable by its owner only; standard output when not given")
	f.BoolVar(&redact, "redact", false, "leave addresses, passwords and secrets out, to show the file to others")
	return cmd
}

// exportAll writes cameras, then endpoints.
func exportAll(ctx context.Context, s *pgstore.Store, names []string, secrets bool) ([]byte, error) {
	endpoints, found, err := exportEndpoints(ctx, s, names, secrets)
	if err != nil {
		return nil, err
	}
	slugs := slices.DeleteFunc(slices.Clone(names), func(n string) bool { return slices.Contains(found, n) })
	if len(names) > 0 && len(slugs) == 0 {
		return endpoints, nil
	}
	files, err := exportCameras(ctx, s, slugs)
	if err != nil {
		return nil, err
	}
	text, err := camera.EncodeYAML(files, secrets)
	if err != nil || len(endpoints) == 0 {
		return text, err
	}
	if len(files) > 0 {
		text = append(text, "---\n"...)
	}
	return append(text, endpoints...), nil
}

func exportCameras(ctx context.Context, s *pgstore.Store, slugs []string) ([]camera.File, error) {
	stored, err := s.Cameras(ctx)
	if err != nil {
		return nil, err
	}
	var files []camera.File
	for _, c := range stored {
		if len(slugs) > 0 && !slices.Contains(slugs, c.Slug) {
			continue
		}
		f, err := camera.DecodeJSON(c.Spec)
		if err != nil {
			return nil, fmt.Errorf("camera %s: %w", c.Slug, err)
		}
		files = append(files, f)
	}
	for _, slug := range slugs {
		if !slices.ContainsFunc(files, func(f camera.File) bool { return f.Camera == slug }) {
			return nil, fmt.Errorf("there is no camera %q; without a name, export writes all %d", slug, len(stored))
		}
	}
	return files, nil
}

func newCheckConfigCommand() *cobra.Command {
	var config string
	var cameras []string
	cmd := &cobra.Command{
		Use:   "check-config [-c xacam.yaml] [-f cameras.yaml…]",
		Short: "Check configuration and camera files and list every problem",
		Args:  usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var errs []error
			checked := cameras
			if cmd.Flags().Changed("config") || len(cameras) == 0 {
				_, err := loadConfig(config)
				errs = append(errs, err)
				checked = append([]string{config}, checked...)
			}
			for _, path := range cameras {
				_, err := readApply(path, cmd.InOrStdin())
				errs = append(errs, err)
			}
			if err := errors.Join(errs...); err != nil {
				return err
			}
			for _, path := range checked {
				fmt.Fprintf(cmd.OutOrStdout(), "%s: ok\n", path)
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&config, "config", "c", "xacam.yaml", "configuration file of the server")
	cmd.Flags().StringArrayVarP(&cameras, "file", "f", nil, "file of cameras and endpoints; may be given several times")
	return cmd
}

func newMigrateCommand() *cobra.Command {
	var config string
	cmd := &cobra.Command{
		Use:   "migrate",
		Short: "Bring the database schema up to date; serve does so too",
		Args:  usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withConfigured(cmd, config, func(context.Context, *Config, *pgstore.Store) error {
				fmt.Fprintln(cmd.OutOrStdout(), "the database schema is up to date")
				return nil
			})
		},
	}
	cmd.Flags().StringVarP(&config, "config", "c", "xacam.yaml", "configuration file of the server")
	return cmd
}
