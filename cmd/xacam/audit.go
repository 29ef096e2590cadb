package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/xacam/xacam/events/audit"
	"github.com/xacam/xacam/events/evidence"
	"github.com/xacam/xacam/events/pgstore"
	"github.com/xacam/xacam/events/vault"
)

// openVault opens the server's own keys.
func openVault(cfg *Config) (*vault.Vault, error) {
	if err := makeDataDir(cfg.Data); err != nil {
		return nil, err
	}
	return vault.Open(keyDir(cfg.Data))
}

func newAuditCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "The record of what people did: check it, write it out",
		Args:  usageArgs(cobra.NoArgs),
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newAuditVerifyCommand(), newAuditExportCommand())
	return cmd
}

func newAuditVerifyCommand() *cobra.Command {
	var config, file, key string
	var known []string
	cmd := &cobra.Command{
		Use:   "verify [-c xacam.yaml | --file audit.jsonl --key evidence.pub]",
		Short: "Find the first entry of the audit chain that was changed, removed, put in or moved",
		Long: "Find the first entry of the audit chain that was changed, removed, put in or moved.\n\n" +
			"An older state of the whole database, put back, is a chain without a fault. To notice that, keep the line\n" +
			"that verify and export print somewhere else, and give it with --known.\n\n" +
			"The newest key must have signed the end of the chain: whoever has stolen an older one could write all of it anew.",
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if (file == "") != (key == "") {
				return usagef("--file and --key go together: the export, and the public key of the server that wrote it")
			}
			heads, err := parseKnown(known)
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			if file != "" {
				keys, more, err := readPublic(key)
				if err != nil {
					return err
				}
				return verifyFile(file, cmd.InOrStdin(), keys, append(heads, more...), out)
			}
			return verifyConfigured(cmd, config, heads)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&config, "config", "c", "xacam.yaml", "configuration file of the server")
	f.StringVar(&file, "file", "", "what audit export wrote, instead of the database; - is standard input")
	f.StringVar(&key, "key", "", "public key of the server, its data folder's keys/"+vault.PublicFile+", or what evidence keys writes; with --file")
	f.StringArrayVar(&known, "known", nil, "NUMBER:HASH as printed earlier, which must still be there; may be given several times")
	return cmd
}

// verifyConfigured verifies the chain of the server, and does not sign it.
func verifyConfigured(cmd *cobra.Command, config string, heads []audit.Head) error {
	cfg, err := loadConfig(config)
	if err != nil {
		return err
	}
	keys, err := openVault(cfg)
	if err != nil {
		return err
	}
	heads = append(heads, handedOver(keys.Handovers())...)
	return withStore(cmd.Context(), cfg, cmd.ErrOrStderr(), func(ctx context.Context, s *pgstore.Store) error {
		return s.AuditChain(ctx, func(entries iter.Seq2[audit.Entry, error], head audit.Head) error {
			return verifyChain(entries, head, keys.Signing, heads, cmd.OutOrStdout())
		})
	})
}

// parseKnown reads NUMBER:HASH.
func parseKnown(texts []string) (out []audit.Head, err error) {
	for _, t := range texts {
		number, hash, _ := strings.Cut(t, ":")
		n, nerr := strconv.ParseInt(number, 10, 64)
		h, herr := audit.ParseHash(hash)
		if nerr != nil || herr != nil || n < 1 {
			return nil, usagef("--known %q is not NUMBER:HASH, as audit verify prints it", t)
		}
		out = append(out, audit.Head{Number: n, Hash: h})
	}
	return out, nil
}

// readPublic reads who may sign the head, and what a key chain tells of earlier ones.
func readPublic(path string) (audit.Keys, []audit.Head, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, usagef("read the public key: %w", err)
	}
	keys, handovers, err := evidence.ParseTrust(text)
	if err != nil {
		return nil, nil, usagef("%s: %w", path, err)
	}
	return trustedHeads(keys, handovers), handedOver(handovers), nil
}

// verifyChain says how far a chain is sound.
func verifyChain(entries iter.Seq2[audit.Entry, error], head audit.Head, keys audit.Keys, known []audit.Head, w io.Writer) error {
	sound, err := audit.Verify(entries, head, keys, known...)
	if err != nil {
		if _, broken := errors.AsType[*audit.BreakError](err); broken {
			return fmt.Errorf("the audit chain is broken, %d entries before are sound: %w", sound, err)
		}
		return err
	}
	fmt.Fprintf(w, "%d entries are sound; keep this elsewhere for the next time: --known %d:%s\n", sound, head.Number, head.Hash)
	return nil
}

// auditLine is one line of an export: an entry, or the head at the end.
type auditLine struct {
	Number   int64           `json:"number"`
	At       string          `json:"at,omitempty"` // RFC 3339, UTC, microseconds
	Actor    string          `json:"actor,omitempty"`
	Action   string          `json:"action,omitempty"`
	Subject  string          `json:"subject,omitempty"`
	Event    string          `json:"event,omitempty"`
	Detail   json.RawMessage `json:"detail,omitempty"`      // to read
	Text     string          `json:"detail_text,omitempty"` // the very bytes that were hashed
	Key      string          `json:"idempotency_key,omitempty"`
	Previous string          `json:"previous,omitempty"`
	Hash     string          `json:"hash"`

	Head      bool   `json:"head,omitempty"`
	KeyID     string `json:"key_id,omitempty"`
	Signature string `json:"signature,omitempty"` // base64
}

func (l *auditLine) entry() (audit.Entry, error) {
	e := audit.Entry{
		Number: l.Number, Actor: l.Actor, Action: l.Action, Subject: l.Subject, EventID: l.Event,
		Detail: l.Text, DetailValue: string(l.Detail), Key: l.Key,
	}
	var errs [3]error
	e.At, errs[0] = time.Parse(time.RFC3339Nano, l.At)
	e.Previous, errs[1] = audit.ParseHash(l.Previous)
	e.Hash, errs[2] = audit.ParseHash(l.Hash)
	if err := errors.Join(errs[:]...); err != nil {
		return e, fmt.Errorf("entry %d: %w", l.Number, err)
	}
	return e, nil
}

func newAuditExportCommand() *cobra.Command {
	var config, out string
	cmd := &cobra.Command{
		Use:   "export [-c xacam.yaml] [-o audit.jsonl]",
		Short: "Write the audit chain and its signed head as JSON lines, which audit verify --file checks",
		Args:  usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withConfigured(cmd, config, func(ctx context.Context, _ *Config, s *pgstore.Store) error {
				var last audit.Head
				err := s.AuditChain(ctx, func(entries iter.Seq2[audit.Entry, error], head audit.Head) error {
					last = head
					return writeOut(out, cmd.OutOrStdout(), func(w io.Writer) error { return exportChain(entries, head, w) })
				})
				if err == nil {
					fmt.Fprintf(cmd.ErrOrStderr(), "%d entries; keep this elsewhere for audit verify: --known %d:%s\n", last.Number, last.Number, last.Hash)
				}
				return err
			})
		},
	}
	cmd.Flags().StringVarP(&config, "config", "c", "xacam.yaml", "configuration file of the server")
	cmd.Flags().StringVarP(&out, "out", "o", "", "file to write, readable by its owner only; standard output when not given")
	return cmd
}

func exportChain(entries iter.Seq2[audit.Entry, error], head audit.Head, to io.Writer) error {
	w := bufio.NewWriter(to)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	for e, err := range entries {
		if err != nil {
			return err
		}
		l := auditLine{
			Number: e.Number, At: e.At.UTC().Format("2006-01-02T15:04:05.000000Z"), Actor: e.Actor, Action: e.Action, Subject: e.Subject,
			Event: e.EventID, Detail: json.RawMessage(e.DetailValue), Text: e.Detail, Key: e.Key, Previous: e.Previous.String(), Hash: e.Hash.String(),
		}
		if err := enc.Encode(l); err != nil {
			return err
		}
	}
	err := enc.Encode(auditLine{
		Number: head.Number, Hash: head.Hash.String(), Head: true, KeyID: head.KeyID, Signature: base64.StdEncoding.EncodeToString(head.Signature),
	})
	return errors.Join(err, w.Flush())
}

// maxAuditLine bounds a line of an export.
const maxAuditLine = 1 << 20

// verifyFile verifies what exportChain wrote. The whole of it is in memory, since
// the head stands at its end.
func verifyFile(path string, stdin io.Reader, keys audit.Keys, known []audit.Head, w io.Writer) error {
	in := stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return usagef("read the export: %w", err)
		}
		defer f.Close()
		in = f
	}
	var entries []audit.Entry
	head, ended := audit.Head{}, false
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxAuditLine)
	for n := 1; lines.Scan(); n++ {
		var l auditLine
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil || ended {
			return fmt.Errorf("%s: line %d is not one of an audit export", path, n)
		}
		if l.Head {
			h, err := audit.ParseHash(l.Hash)
			signature, serr := base64.StdEncoding.DecodeString(l.Signature)
			if err := errors.Join(err, serr); err != nil {
				return fmt.Errorf("%s: the head: %w", path, err)
			}
			head, ended = audit.Head{Number: l.Number, Hash: h, KeyID: l.KeyID, Signature: signature}, true
			continue
		}
		e, err := l.entry()
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		entries = append(entries, e)
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if !ended {
		return fmt.Errorf("%s: the head is missing at the end: the file is not whole", path)
	}
	return verifyChain(func(yield func(audit.Entry, error) bool) {
		for _, e := range entries {
			if !yield(e, nil) {
				return
			}
		}
	}, head, keys, known, w)
}
