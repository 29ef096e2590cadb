package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/outbox"
	"github.com/xacam/xacam/events/pgstore"
	"github.com/xacam/xacam/events/vault"
)

func newFeedKeyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "feed-key",
		Short: "Keys with which receivers read the feed of changes",
		Args:  usageArgs(cobra.NoArgs),
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newFeedKeyCreateCommand(), newFeedKeyListCommand(), newFeedKeyRevokeCommand())
	return cmd
}

func newFeedKeyCreateCommand() *cobra.Command {
	var config, by, severity string
	var kinds, steps []string
	var valid time.Duration
	k := outbox.FeedKey{}
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Make a key and print it, this once",
		Args:  usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			k.Name, k.Filter.Severity = args[0], events.Severity(severity)
			for _, v := range kinds {
				k.Filter.Kinds = append(k.Filter.Kinds, events.Kind(v))
			}
			for _, v := range steps {
				k.Filter.Steps = append(k.Filter.Steps, events.Step(v))
			}
			if valid < 0 {
				return usagef("--valid must not be negative")
			}
			if valid > 0 {
				k.Expires = time.Now().Add(valid).UTC()
			}
			if err := k.Check(); err != nil {
				return &usageError{err}
			}
			secret := outbox.NewFeedSecret()
			k.Hash, _ = outbox.HashFeedSecret(secret)
			return withConfiguredKeys(cmd, config, func(ctx context.Context, s *pgstore.Store, _ *vault.Vault) error {
				if _, _, err := s.CreateFeedKey(ctx, k, outbox.Act{By: by}); err != nil {
					return err
				}
				fmt.Fprintln(cmd.ErrOrStderr(), "the key, which cannot be shown again; send it as Authorization: Bearer KEY to /api/v1/feed")
				fmt.Fprintln(cmd.OutOrStdout(), secret)
				return nil
			})
		},
	}
	f := cmd.Flags()
	f.StringVarP(&config, "config", "c", "xacam.yaml", "configuration file of the server")
	f.StringVar(&by, "by", "", "who does this, for the audit chain (required)")
	f.StringSliceVar(&kinds, "kind", nil, "only these kinds")
	f.StringVar(&severity, "severity", "", "only this severity and above")
	f.StringSliceVar(&k.Filter.Hamlets, "hamlet", nil, "only these hamlets")
	f.StringSliceVar(&k.Filter.Sources, "camera", nil, "only these cameras")
	f.StringSliceVar(&steps, "step", nil, "only raised, cleared, evidence, workflow")
	f.IntVar(&k.PerMinute, "per-minute", outbox.DefaultPerMinute, "requests a minute")
	f.DurationVar(&valid, "valid", 0, "how long it is valid, such as 8760h; 0 is for ever")
	mustRequire(cmd, "by")
	return cmd
}

func newFeedKeyListCommand() *cobra.Command {
	var config string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the keys, without what is secret",
		Args:  usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withConfigured(cmd, config, func(ctx context.Context, cfg *Config, s *pgstore.Store) error {
				keys, err := s.FeedKeys(ctx)
				if err != nil {
					return err
				}
				at := func(t time.Time) string {
					if t.IsZero() {
						return "-"
					}
					return t.In(cfg.location).Format("2006-01-02 15:04")
				}
				w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
				fmt.Fprintln(w, "NAME\tPER MINUTE\tCREATED\tEXPIRES\tLAST USED\tFILTER")
				for _, k := range keys {
					fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%s\n", k.Name, k.PerMinute, at(k.Created), at(k.Expires), at(k.LastUsed), filterText(k.Filter))
				}
				return w.Flush()
			})
		},
	}
	cmd.Flags().StringVarP(&config, "config", "c", "xacam.yaml", "configuration file of the server")
	return cmd
}

// filterText writes a filter on one line.
func filterText(f outbox.Filter) string {
	var parts []string
	for _, p := range []struct{ name, value string }{
		{"kinds", strings.Trim(fmt.Sprint(f.Kinds), "[]")},
		{"severity", string(f.Severity)},
		{"hamlets", strings.Join(f.Hamlets, " ")},
		{"cameras", strings.Join(f.Sources, " ")},
		{"steps", strings.Trim(fmt.Sprint(f.Steps), "[]")},
		{"schedule", f.Schedule},
	} {
		if p.value != "" {
			parts = append(parts, p.name+"="+p.value)
		}
	}
	if len(parts) == 0 {
		return "everything"
	}
	return strings.Join(parts, ", ")
}

func newFeedKeyRevokeCommand() *cobra.Command {
	var config, by string
	cmd := &cobra.Command{
		Use:   "revoke NAME",
		Short: "End a key at once",
		Args:  usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withConfiguredKeys(cmd, config, func(ctx context.Context, s *pgstore.Store, _ *vault.Vault) error {
				err := s.RevokeFeedKey(ctx, args[0], outbox.Act{By: by})
				if errors.Is(err, events.ErrNotFound) {
					return fmt.Errorf("there is no feed key %q; xacam feed-key list shows them", args[0])
				}
				if err == nil {
					fmt.Fprintf(cmd.OutOrStdout(), "%s: revoked\n", args[0])
				}
				return err
			})
		},
	}
	cmd.Flags().StringVarP(&config, "config", "c", "xacam.yaml", "configuration file of the server")
	cmd.Flags().StringVar(&by, "by", "", "who does this, for the audit chain (required)")
	mustRequire(cmd, "by")
	return cmd
}
