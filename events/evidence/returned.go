package evidence

import (
	"context"
	"fmt"
)

// Returns is what the store knows of files that are noted as missing.
type Returns interface {
	// Missing returns those of the paths that are noted as gone because the file was
	// missing. Files that somebody has deleted are not among them.
	Missing(ctx context.Context, paths []string) ([]StoredFile, error)
	// Return notes that files are there again, and writes that into the log of
	// deletions. Those whose hash is another one by now are left out.
	Return(ctx context.Context, files []StoredFile, actor string) error
}

// returned looks which of the files that the store does not miss are noted as
// missing: as they were, they are back. They are added to known.
func (c *checker) returned(ctx context.Context, paths []string, known map[string]bool) error {
	if c.cfg.Returns == nil {
		return nil
	}
	var asked []string
	for _, p := range paths {
		if !known[p] {
			asked = append(asked, p)
		}
	}
	if len(asked) == 0 {
		return nil
	}
	files, err := c.cfg.Returns.Missing(ctx, asked)
	if err != nil {
		return err
	}
	var back []StoredFile
	for i := range files {
		f := &files[i]
		p := Problem{Path: f.Ref.Path, EventID: f.EventID}
		known[f.Ref.Path] = true // not an orphan, whatever is in it
		if !c.same(&p, f.Ref, true) {
			p.Detail = "it was noted as missing and is back, but " + p.Detail
			c.found(p)
			continue
		}
		p.What, p.Mended = "returned", c.cfg.Repair
		c.found(p)
		back = append(back, *f)
	}
	if !c.cfg.Repair || len(back) == 0 {
		return nil
	}
	if err := c.cfg.Returns.Return(ctx, back, "fsck"); err != nil {
		return fmt.Errorf("note media that is back: %w", err)
	}
	return nil
}
