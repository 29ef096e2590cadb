package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/xacam/xacam/events/evidence"
	"github.com/xacam/xacam/events/pgstore"
	"github.com/xacam/xacam/events/vault"
)

func newEvidenceKeysCommand() *cobra.Command {
	var config, out string
	cmd := &cobra.Command{
		Use:   "keys [-c xacam.yaml] [-o keys.json]",
		Short: "Write the key chain: the public key that signs, and how it took over from those before",
		Args:  usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := loadConfig(config)
			if err != nil {
				return err
			}
			keys, err := openVault(cfg)
			if err != nil {
				return err
			}
			if _, err := vault.ReadHandovers(keyDir(cfg.Data)); err != nil {
				return fmt.Errorf("%w; put it back from the backup", err)
			}
			text, err := evidence.EncodeKeychain(keys.Public(), keys.Handovers())
			if err != nil {
				return err
			}
			return writeOut(out, cmd.OutOrStdout(), func(w io.Writer) error {
				_, err := w.Write(text)
				return err
			})
		},
	}
	cmd.Flags().StringVarP(&config, "config", "c", "xacam.yaml", "configuration file of the server")
	cmd.Flags().StringVarP(&out, "out", "o", "", "file to write; standard output when not given")
	return cmd
}

func newEvidenceRotateCommand() *cobra.Command {
	var config, by, reason string
	cmd := &cobra.Command{
		Use:   "rotate-key --by NAME --reason TEXT [-c xacam.yaml]",
		Short: "Sign evidence and the audit chain with a new key from now on; the server must be stopped",
		Long: `Makes a new key, which signs evidence and the audit chain from now on. The old
secret key is destroyed; what it signed is still verified. The old key names the
new one and the other way round, in keys/handover-….json, which packages bring
along, so that the new public key verifies packages of both.

Give the new key, or what xacam evidence keys writes, to everybody who verifies:
whoever trusts only the old key cannot tell what a thief of that key has signed.
Hãy giao khóa mới cho mọi người kiểm tra chứng cứ: người chỉ tin khóa cũ không
thể phân biệt những gì kẻ lấy cắp khóa đó đã ký.

The hand-over says which package was the last that the old key sealed. A later
one with its signature is named as forged.

It is written into the audit chain before anything changes. Interrupted, the
server has either key, and the command can be run again.`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			r := evidence.Request{By: by, Reason: reason}
			if err := r.Check(); err != nil {
				return usagef("--%w", err)
			}
			cfg, err := loadConfig(config)
			if err != nil {
				return err
			}
			return rotateKey(cmd.Context(), cfg, r, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.StringVarP(&config, "config", "c", "xacam.yaml", "configuration file of the server")
	f.StringVar(&by, "by", "", "who does it (required)")
	f.StringVar(&reason, "reason", "", "why (required)")
	return cmd
}

func rotateKey(ctx context.Context, cfg *Config, r evidence.Request, out, stderr io.Writer) error {
	if err := makeDataDir(cfg.Data); err != nil {
		return err
	}
	lock, err := lockDataDir(cfg.Data)
	if err != nil {
		return fmt.Errorf("to change the key the server must be stopped: %w", err)
	}
	defer lock.Close()
	var h vault.Handover
	err = withKeys(ctx, cfg, stderr, func(ctx context.Context, s *pgstore.Store, _ *vault.Vault) error {
		h, err = handOver(ctx, cfg.Data, s, r)
		return err
	})
	if err != nil {
		return err
	}
	text, err := vault.EncodePublic(h.New)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "the key %s signs now, after %s, which sealed up to manifest %d\n%s\n", vault.KeyID(h.New), vault.KeyID(h.Old), h.Number, strings.TrimSpace(string(text)))
	fmt.Fprintln(out, "Give it, or what evidence keys writes, to those who verify, and put data/keys into the backup.")
	return signTurn(ctx, cfg, stderr)
}

// handOver changes the key.
func handOver(ctx context.Context, data string, s *pgstore.Store, r evidence.Request) (vault.Handover, error) {
	end, err := endForHandover(ctx, data, s)
	if err != nil {
		return vault.Handover{}, err
	}
	before, err := auditHead(ctx, s)
	if err != nil {
		return vault.Handover{}, err
	}
	h := vault.Handover{
		At: time.Now(), Number: end.Number, SHA256: end.SHA256, AuditNumber: before.Number, AuditSHA256: before.Hash.String(), By: r.By, Reason: r.Reason,
	}
	return vault.Rotate(keyDir(data), h, func(h vault.Handover) error {
		err := s.Append(ctx, h.By, actionRotateKey, "key:"+vault.KeyID(h.New), "", map[string]any{
			"reason": h.Reason, "old": vault.KeyID(h.Old), "new": vault.KeyID(h.New), "last_number": h.Number, "last_sha256": h.SHA256,
			"audit_number": h.AuditNumber, "audit_sha256": h.AuditSHA256,
		})
		if err != nil {
			return err
		}
		after, err := auditHead(ctx, s)
		if err == nil && after.Number != h.AuditNumber+1 {
			err = errors.New("somebody wrote into the audit chain meanwhile; run it again")
		}
		return err
	})
}

// signTurn has the new key sign the audit chain.
func signTurn(ctx context.Context, cfg *Config, stderr io.Writer) error {
	keys, err := openVault(cfg)
	if err == nil {
		err = openStore(ctx, cfg, stderr, keys, func(ctx context.Context, s *pgstore.Store) error { return tellTurn(ctx, s, keys) })
	}
	if err != nil {
		return fmt.Errorf("the new key signs, but it has not signed the audit chain yet: the server does when it starts: %w", err)
	}
	return nil
}

// endForHandover returns the last package that the key has sealed. The hand-over
// says so for ever, so an old state of the database, in which packages are
// missing, is refused.
func endForHandover(ctx context.Context, data string, s *pgstore.Store) (evidence.Head, error) {
	head, err := s.ManifestHead(ctx)
	if err != nil {
		return head, err
	}
	known, err := knownHeads(data, nil)
	if err != nil {
		return head, err
	}
	if err := evidence.GoesOn(ctx, s, known); err != nil {
		return head, fmt.Errorf("the key is not changed, since the hand-over would name the wrong package as its last, for ever "+
			"(chưa đổi khóa: bản bàn giao sẽ ghi sai gói chứng cứ cuối cùng): %w", err)
	}
	return head, nil
}
