package main

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/xacam/xacam/events/evidence"
	"github.com/xacam/xacam/events/vault"
)

func newEvidenceCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "evidence",
		Short: "Check packages of evidence, and the chain of a server",
		Args:  usageArgs(cobra.NoArgs),
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newEvidenceVerifyCommand(), newEvidenceHeadCommand(), newEvidenceKeysCommand(), newEvidenceRotateCommand())
	return cmd
}

// verifyFlags are those of `evidence verify`.
type verifyFlags struct {
	key, config     string
	previous, heads []string
	all             bool
}

func newEvidenceVerifyCommand() *cobra.Command {
	var flags verifyFlags
	cmd := &cobra.Command{
		Use:   "verify PACKAGE.zip|FOLDER… --key evidence.pub",
		Short: "Check that evidence is what the server sealed",
		Long: `Checks packages of evidence offline, as files or as folders they were unpacked
into: every file against the signed manifest, the signature against the public
key, and packages whose numbers follow each other against each other. It names
each file that was changed, added, renamed or is missing.

Get the newest key from those who run the server (data/keys/evidence.pub, or what
xacam evidence keys writes). After the server has changed its key, that leads
back to the ones before, over what both keys have signed about it, which the
package brings. An old key leads to the newest one too, but whoever trusts only
an old key cannot tell what a thief of that key has signed: the thief can hand
it over to a key of his own. Of several keys only the last leads on to others.

Hãy dùng khóa mới nhất, nhận trực tiếp từ đơn vị quản lý máy chủ. Người chỉ tin
khóa cũ không thể phân biệt những gì kẻ lấy cắp khóa đó đã ký.

Without --key the one in the package is used. That shows damage, but not forgery:
whoever makes a false package puts in a false key. So it never counts as
verified.

With --all it checks the whole chain of a server, in its database and its media
folder, and says what the log of deletions accounts for. Its end is signed and
kept in the data folder as well (evidence-head.json). Whoever could put back an
old state of the database and of that file is found out by an end that was
handed out earlier: xacam evidence head, or GET /api/v1/evidence/head, and then
--head FILE.

Exit codes: 0 verified; 1 something is wrong, or no key was given; 2 bad usage.`,
		Args: usageArgs(cobra.ArbitraryArgs),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case flags.all && len(args)+len(flags.previous) > 0:
				return usagef("--all checks a server and takes no packages")
			case len(flags.heads) > 0 && !flags.all:
				return usagef("--head is for --all")
			case flags.all:
				return verifyAll(cmd.Context(), flags, cmd.OutOrStdout(), cmd.ErrOrStderr())
			case len(args) == 0:
				return usagef("which package? usage: %s", cmd.UseLine())
			}
			return verifyPackages(cmd.Context(), args, flags, cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringVar(&flags.key, "key", "", "public key of the server, PEM, where several in one file are all accepted; or its key chain, as evidence keys writes it")
	cmd.Flags().StringArrayVar(&flags.previous, "previous", nil, "package that must be the one before the first, checked as well")
	cmd.Flags().BoolVar(&flags.all, "all", false, "check the chain of a server")
	cmd.Flags().StringArrayVar(&flags.heads, "head", nil, "end of the chain that was handed out earlier, from which it must go on; for --all")
	cmd.Flags().StringVarP(&flags.config, "config", "c", "xacam.yaml", "configuration file of the server, for --all")
	return cmd
}

// readKeys reads the keys of --key and the hand-overs between them; none for "".
func readKeys(path string) ([]ed25519.PublicKey, []vault.Handover, error) {
	if path == "" {
		return nil, nil, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, usagef("read the key: %w", err)
	}
	keys, handovers, err := evidence.ParseTrust(text)
	if err != nil {
		return nil, nil, usagef("%s: %w", path, err)
	}
	return keys, handovers, nil
}

// errNotVerified says that evidence is not what it should be; the findings have
// been written.
var errNotVerified = errors.New("NOT VERIFIED")

func verifyPackages(ctx context.Context, paths []string, flags verifyFlags, out io.Writer) error {
	keys, handovers, err := readKeys(flags.key)
	if err != nil {
		return err
	}
	paths = append(append([]string{}, flags.previous...), paths...)
	reports := make([]*evidence.Report, len(paths))
	faults := 0
	for i, path := range paths {
		if reports[i], err = evidence.Verify(ctx, path, keys, handovers...); err != nil {
			return err
		}
		describePackage(out, path, reports[i])
		faults += len(reports[i].Findings)
	}
	links := evidence.Links(paths, reports)
	if n := len(flags.previous); n > 0 && reports[n].Manifest != nil && reports[n-1].Manifest != nil &&
		reports[n].Manifest.Number != reports[n-1].Manifest.Number+1 {
		links = append(links, evidence.Finding{File: paths[n], Problem: fmt.Sprintf("it has the number %d, so the one before is not %s, which has %d",
			reports[n].Manifest.Number, paths[n-1], reports[n-1].Manifest.Number)})
	}
	for _, f := range links {
		fmt.Fprintf(out, "chain: %s\n", f)
	}
	switch faults += len(links); {
	case faults > 0:
		return fmt.Errorf("%w: %s", errNotVerified, plural(faults, "fault"))
	case len(keys) == 0:
		return fmt.Errorf("%w: nothing was found to be wrong, but whose key it is was not checked; "+
			"get evidence.pub from those who run the server and give it with --key", errNotVerified)
	}
	fmt.Fprintln(out, "VERIFIED")
	return nil
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// describePackage writes what was found out about a package.
func describePackage(out io.Writer, path string, r *evidence.Report) {
	fmt.Fprintf(out, "%s\n", path)
	if m := r.Manifest; m != nil {
		var e struct {
			Kind       string `json:"kind"`
			OccurredAt string `json:"occurred_at"`
			Source     struct {
				Name string `json:"name"`
			} `json:"source"`
		}
		_ = json.Unmarshal(m.Event, &e) // what is not there is left empty
		fmt.Fprintf(out, "  event %q: %q, %q, %q\n", m.EventID(), e.Kind, e.Source.Name, e.OccurredAt)
		fmt.Fprintf(out, "  manifest %d of %s, %s, SHA-256 %s\n", m.Number, m.SealedAt.Format(time.RFC3339), plural(len(m.Files), "file"), r.SHA256)
		fmt.Fprintf(out, "  follows manifest %d, SHA-256 %s\n", m.Previous.Number, m.Previous.SHA256)
		whose := "the key that was given"
		if !r.Trusted {
			whose = "the key inside, which anybody could have put there"
		}
		if r.OK() {
			fmt.Fprintf(out, "  signed with %s: %s\n", whose, m.KeyID)
		}
		for _, flaw := range m.Flaws {
			fmt.Fprintf(out, "  sealed with a flaw: %q\n", flaw)
		}
	}
	if x := r.Export; x != nil {
		fmt.Fprintf(out, "  taken by %q at %s for %q\n", x.By, x.ExportedAt.Format(time.RFC3339), x.Reason)
	}
	for _, n := range r.Notes {
		fmt.Fprintf(out, "  note: %s\n", n)
	}
	for _, f := range r.Findings {
		fmt.Fprintf(out, "  WRONG: %s\n", f)
	}
}
