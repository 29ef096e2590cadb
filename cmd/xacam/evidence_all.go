package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/evidence"
	"github.com/xacam/xacam/events/pgstore"
	"github.com/xacam/xacam/events/vault"
)

func newEvidenceHeadCommand() *cobra.Command {
	var config string
	cmd := &cobra.Command{
		Use:   "head [-c xacam.yaml] > head.json",
		Short: "Write out the signed end of the chain, to be kept elsewhere for evidence verify --all --head",
		Args:  usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := loadConfig(config)
			if err != nil {
				return err
			}
			return withStore(cmd.Context(), cfg, cmd.ErrOrStderr(), func(ctx context.Context, s *pgstore.Store) error {
				b, err := encodeHead(ctx, s)
				if errors.Is(err, events.ErrNotFound) {
					return errors.New("no evidence has been sealed yet, or not since the server was updated: start it once")
				}
				if err != nil {
					return err
				}
				_, err = cmd.OutOrStdout().Write(b)
				return err
			})
		},
	}
	cmd.Flags().StringVarP(&config, "config", "c", "xacam.yaml", "configuration file of the server")
	return cmd
}

// knownHeads reads the ends of the chain that are kept in the data folder, and
// those that were handed out.
func knownHeads(data string, files []string) ([]evidence.KnownHead, error) {
	known, err := evidence.HeadFolder{Dir: data}.Known()
	if err != nil {
		return nil, err
	}
	for _, path := range files {
		h, err := evidence.ReadHead(path)
		if err != nil {
			return nil, usagef("--head: %w", err)
		}
		known = append(known, h)
	}
	return known, nil
}

// verifyAll checks the chain of a server.
func verifyAll(ctx context.Context, flags verifyFlags, out, stderr io.Writer) error {
	cfg, err := loadConfig(flags.config)
	if err != nil {
		return err
	}
	keys, handovers, err := readKeys(flags.key)
	if err != nil {
		return err
	}
	own, err := vault.ReadHandovers(filepath.Join(cfg.Data, "keys"))
	if err != nil {
		fmt.Fprintf(out, "damaged: %v\n", err) // what it was needed for is a fault
	}
	if keys == nil {
		handovers = own
		if keys, err = vault.PublicKeys(filepath.Join(cfg.Data, "keys")); err != nil {
			return fmt.Errorf("%w; name the key with --key", err)
		}
	}
	store, err := openMedia(cfg.Data)
	if err != nil {
		return err
	}
	known, err := knownHeads(cfg.Data, flags.heads)
	if err != nil {
		return err
	}
	return withStore(ctx, cfg, stderr, func(ctx context.Context, s *pgstore.Store) error {
		sum, err := evidence.VerifyChain(ctx, evidence.ChainConfig{
			Store: store, Chain: s, Keys: keys, Handovers: handovers, Beside: own, Known: known,
			Found: func(f evidence.Finding) { fmt.Fprintf(out, "WRONG: %s\n", f) },
			Gone: func(where string, d evidence.Deletion) {
				fmt.Fprintf(out, "gone: %s: deleted at %s by %s (%s)\n", where, d.At.Format(time.RFC3339), d.Actor, d.Reason)
			},
		})
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%s, %s, %d of them gone and accounted for\n", plural(sum.Manifests, "manifest"), plural(sum.Files, "file"), sum.Gone)
		if sum.Faults > 0 {
			return fmt.Errorf("%w: %s", errNotVerified, plural(sum.Faults, "fault"))
		}
		fmt.Fprintln(out, "VERIFIED")
		return nil
	})
}
